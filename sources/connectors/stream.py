"""Systems that send messages: what the collector has received since the last pull becomes a load.

The cursor is the number of the last segment taken. Segments are removed only after the load is there, so that a pull that was killed
in between is known by its cursor. Receiving messages belongs in ``sources/collector.py``; what a segment is, in ``sources/spool.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from sources import spool
from sources.catalogue import Entity, Server, System
from sources.connectors.text import text_frame
from sources.errors import PullError
from sources.landing import Landing, LoadWriter, Manifest
from sources.settings import of_system

PART_BYTES = 64_000_000  # segments that go into one part, so that memory does not follow what has piled up
GRACE = timedelta(seconds=90)  # a collector that starts, or finds its broker again, is no fault yet


def servers(systems: dict[str, System]) -> list[tuple[System, Server, str]]:
    """The servers of messages that are set up, each with its address."""
    return [
        (system, server, address)
        for system in systems.values()
        for server in system.servers
        if server.delivery == "stream" and (address := of_system(system.id, f"{server.setting}url", required=False))
    ]


def read(entity: Entity, writer: LoadWriter, cursor: int | None, is_backfill: bool) -> Manifest:
    """Commit the closed segments as a load, then remove them.

    Raises:
        PullError: after the load is there, where the collector does not run or is not connected; or for a backfill.
    """
    where = f"{entity.system}/{entity.name}"
    if is_backfill:
        raise PullError(
            "a stream of messages keeps no history", where=where, next_step="backfill from the system's export, or pull what is new"
        )
    folder = spool.folder(entity.system, entity.server.name, entity.name)
    with spool.taken_by(folder):
        server = "" if entity.server.is_first else entity.server.name
        taken = Landing(writer.parent.parent.parent).cursor(entity.system, entity.name, server) or 0  # another may have just pulled
        for segment in spool.closed(folder):
            if spool.number(segment) <= taken:  # it is in a load whose pull was killed before this
                segment.unlink()
        segments = spool.closed(folder)
        digest = hashlib.sha256()
        for segment in segments:
            digest.update(segment.read_bytes())
        load_id = writer.load_id(digest.hexdigest())
        columns: list[str] = []
        rows = 0
        for number, frame in enumerate(_frames(entity, segments)):
            columns += [name for name in frame.columns if name not in columns]
            index = pl.int_range(rows, rows + frame.height, dtype=pl.Int64, eager=True)
            frame.with_columns(pl.lit(load_id).alias("_load_id"), index.alias("_row")).write_parquet(
                writer.part(number), compression="zstd", statistics=True
            )
            rows += frame.height
        manifest = writer.commit(load_id, rows, columns, spool.number(segments[-1]) if segments else taken)
        for segment in segments:
            segment.unlink()
    fault = fault_of_collector(entity)
    if fault:
        what, next_step = fault
        raise PullError(what, where=where, next_step=next_step)
    return manifest


def _frames(entity: Entity, segments: list[Path]) -> Iterator[pl.DataFrame]:
    """The rows of the segments in their order, as frames of text columns of bounded size."""
    rows: list[dict[str, Any]] = []
    size = 0
    for segment in segments:
        for line in segment.read_bytes().splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise PullError(
                    f"a closed segment is damaged ({error})",
                    where=f"{entity.system}/{entity.name} {segment} line {len(rows) + 1}",
                    next_step="check the disk, move the file away, and pull again; fill the gap from the system's export",
                ) from error
            size += len(line)
        if size >= PART_BYTES:
            yield text_frame(rows)
            rows, size = [], 0
    if rows:
        yield text_frame(rows)


def fault_of_collector(entity: Entity) -> tuple[str, str] | None:
    """What is wrong with the collector of this entity's messages, and what to do; None where nothing is, or none ever ran.

    The sentence says since when, not for how long: while it lasts it stays the same, so that nobody is told twice.
    """
    beat = spool.heartbeat()
    if beat is None:
        return None
    at = datetime.fromisoformat(beat["at"])
    if datetime.now(UTC) - at > GRACE:
        ended = "was ended at" if beat.get("ended") else "has not been seen since"
        return (
            f"the collector {ended} {_minute(at)}; messages wait at the broker",
            "start it again: `make up`, or `make collect` alone",
        )
    name = f"{entity.system}/{entity.server.name}"
    state = beat["servers"].get(name)
    if state is None:
        return f"the collector does not know the server {name}", "restart the collector with the same environment as the pulls"
    if state["fault"]:
        return f"the collector: {state['fault']}", state["next_step"]
    since = datetime.fromisoformat(state["since"])
    if not state["connected"] and datetime.now(UTC) - since > GRACE:
        return (
            f"the collector has not been connected to {state['address']} since {_minute(since)}",
            f"check the broker and the network, or {entity.variable('url')}; it tries by itself, and what was sent waits at the broker",
        )
    return None


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
