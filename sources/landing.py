"""Landing: loads are immutable folders of Parquet with a manifest that is written last.

``data/landing/<system>/<entity>/<load_id>/part-*.parquet`` and ``_manifest.json``. Landing knows manifests and nothing about
systems: what a value means, and how it was fetched, belongs elsewhere. A load appears as a whole or not at all, whatever is killed.
``load_id`` is the window's end plus 12 hex digits of the content's hash, so that repeating a pull makes the same load.

Every part holds the source's own columns as text, ``_load_id`` (text) and ``_row`` (bigint, unique in the load).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sources.errors import LandingError
from sources.settings import data_dir, is_demo

MANIFEST = "_manifest.json"
STAMP = "%Y%m%dT%H%M%SZ"
ROW_GROUP = 122_880  # rows; what DuckDB reads at once


@dataclass(frozen=True)
class Manifest:
    """What one load holds. Times are ISO 8601 in UTC; ``sha256`` is per part; ``cursor_after`` is None for a backfill.

    ``server`` names the server that delivered it where it is not the system's first one: each has a window and a cursor of its own.
    """

    load_id: str
    system: str
    entity: str
    contract_version: str
    window_since: str | None
    window_until: str
    cursor_after: Any
    rows: int
    bytes: int
    sha256: dict[str, str]
    columns: list[str]
    is_demo: bool
    started_at: str
    ended_at: str
    server: str = ""
    replaces: tuple[str, ...] = ()
    path: str = ""

    @property
    def until(self) -> datetime:
        return datetime.fromisoformat(self.window_until)

    @property
    def parts(self) -> list[Path]:
        return [Path(self.path) / name for name in sorted(self.sha256)]


class Landing:
    """The landing folder of one data folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or data_dir() / "landing"

    def load_ids(self, system: str, entity: str) -> list[str]:
        """Ids of the loads of an entity, oldest window first. One listing, whatever the history holds."""
        try:
            names = os.listdir(self.folder / system / entity)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if not name.startswith("."))

    def manifest(self, system: str, entity: str, load_id: str) -> Manifest | None:
        """The manifest of a load; None where the folder has none (then the load does not exist).

        Raises:
            LandingError: the manifest cannot be read.
        """
        path = self.folder / system / entity / load_id
        try:
            fields = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            fields["replaces"] = tuple(fields.get("replaces", ()))
            return Manifest(**{**fields, "path": str(path)})
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError) as error:
            raise LandingError(
                f"the manifest cannot be read ({error})",
                where=f"{system}/{entity} load {load_id}",
                next_step=f"restore the folder from a backup, or remove {path} and pull that window again",
            ) from error

    def newest(self, system: str, entity: str, server: str | None = None) -> Manifest | None:
        """The load with the greatest window_until, of one server or of any; among equals the one that carries a cursor (a backfill
        carries none)."""
        best: Manifest | None = None
        for load_id in reversed(self.load_ids(system, entity)):
            if best is not None and load_id.split("-")[0] != best.load_id.split("-")[0]:
                break
            manifest = self.manifest(system, entity, load_id)
            if not manifest or server not in (None, manifest.server):
                continue
            if best is None or (best.cursor_after is None and manifest.cursor_after is not None):
                best = manifest
        return best

    def cursor(self, system: str, entity: str, server: str | None = None) -> Any:
        """Where the next pull goes on: the newest cursor of the server that is not a backfill's."""
        for load_id in reversed(self.load_ids(system, entity)):
            manifest = self.manifest(system, entity, load_id)
            if manifest and manifest.cursor_after is not None and server in (None, manifest.server):
                return manifest.cursor_after
        return None

    @contextlib.contextmanager
    def writer(
        self, system: str, entity: str, contract_version: str, since: datetime | None, until: datetime, server: str = ""
    ) -> Iterator[LoadWriter]:
        """A load in the making. What is not committed at the end leaves no trace."""
        parent = self.folder / system / entity
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(parent)
        incoming = parent / f".incoming-{os.getpid()}-{secrets.token_hex(4)}"
        incoming.mkdir(mode=0o700)
        try:
            yield LoadWriter(parent, incoming, system, entity, contract_version, since, until, server)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


class LoadWriter:
    """Collects the parts of one load and commits them with their manifest."""

    def __init__(
        self,
        parent: Path,
        incoming: Path,
        system: str,
        entity: str,
        contract_version: str,
        since: datetime | None,
        until: datetime,
        server: str = "",
    ) -> None:
        self.parent, self.incoming = parent, incoming
        self.system, self.entity, self.contract_version = system, entity, contract_version
        self.since, self.until, self.server = since, until, server
        self.started_at = datetime.now(UTC)

    def load_id(self, content: str) -> str:
        """``content``: hexadecimal sha256 of what the source sent. Two servers that send nothing make two loads."""
        if self.server:
            content = hashlib.sha256(f"{self.server} {content}".encode()).hexdigest()
        return f"{self.until.astimezone(UTC).strftime(STAMP)}-{content[:12]}"

    def landed_after(self, moment: datetime) -> list[Manifest]:
        """The server's earlier loads whose windows end after a moment."""
        landing, found = Landing(self.parent.parents[1]), []
        for load_id in reversed(landing.load_ids(self.system, self.entity)):
            manifest = landing.manifest(self.system, self.entity, load_id)
            if manifest and manifest.until <= moment:
                break
            if manifest and manifest.server == self.server:
                found.append(manifest)
        return found

    def part(self, number: int) -> Path:
        return self.incoming / f"part-{number:05d}.parquet"

    def commit_frames(self, frames: list[pl.DataFrame], cursor_after: Any) -> Manifest:
        """Write frames of text columns as one part and commit. Columns may differ from frame to frame.

        The content's hash runs over the rows as they land, in their order.
        """
        frame = pl.concat(frames, how="diagonal") if frames else pl.DataFrame()
        digest = hashlib.sha256()
        for batch in frame.iter_slices(100_000):
            digest.update(batch.write_ndjson().encode())
        load_id = self.load_id(digest.hexdigest())
        columns = frame.columns
        if frame.height:
            frame.with_row_index("_row").select(*columns, pl.lit(load_id).alias("_load_id"), pl.col("_row").cast(pl.Int64)).write_parquet(
                self.part(0), compression="zstd", statistics=True
            )
        return self.commit(load_id, frame.height, columns, cursor_after)

    def commit(self, load_id: str, rows: int, columns: list[str], cursor_after: Any) -> Manifest:
        """Make the load exist: hash and sync its parts, write the manifest last, move the folder into place."""
        sha256, size = {}, 0
        for path in sorted(self.incoming.glob("part-*.parquet")):
            sha256[path.name] = sha256_of(path)
            size += path.stat().st_size
            sync(path)
        manifest = Manifest(
            load_id=load_id,
            system=self.system,
            entity=self.entity,
            contract_version=self.contract_version,
            window_since=self.since.astimezone(UTC).isoformat() if self.since else None,
            window_until=self.until.astimezone(UTC).isoformat(),
            cursor_after=cursor_after,
            rows=rows,
            bytes=size,
            sha256=sha256,
            columns=columns,
            is_demo=is_demo(),
            started_at=self.started_at.isoformat(),
            ended_at=datetime.now(UTC).isoformat(),
            server=self.server,
        )
        target = self.parent / load_id
        if (target / MANIFEST).exists():  # the same pull, landed before
            return replace(manifest, path=str(target))
        shutil.rmtree(target, ignore_errors=True)  # a folder without a manifest does not exist
        draft = self.incoming / f"{MANIFEST}.tmp"
        fields = asdict(manifest)
        del fields["path"]
        draft.write_text(json.dumps(fields, ensure_ascii=False, indent=1), encoding="utf-8")
        sync(draft)
        draft.rename(self.incoming / MANIFEST)
        sync(self.incoming)
        self.incoming.rename(target)
        sync(self.parent)
        return replace(manifest, path=str(target))


def row_numbers(first: int, count: int) -> pa.Array:
    """``_row`` of ``count`` rows, from ``first`` on, int64."""
    return pl.int_range(first, first + count, eager=True).to_arrow()


def write_part(path: Path, batches: Iterable[pa.RecordBatch], load_id: str) -> int:
    """Write batches of text columns and ``_row`` as one part as they come; returns the number of rows, without any there is no file.

    Arrow's own writer: on text it needs a third of the processor time of DuckDB's. No statistics, for a load is read whole; a dictionary
    for columns alone that repeat themselves.
    """
    rows, target = 0, None
    try:
        for batch in batches:
            if not batch.num_rows:
                continue
            whole = batch.append_column("_load_id", pa.repeat(load_id, batch.num_rows))
            target = target or pq.ParquetWriter(
                path, whole.schema, compression="zstd", use_dictionary=_repeating(whole), store_schema=False, write_statistics=False
            )
            target.write_batch(whole, row_group_size=ROW_GROUP)
            rows += batch.num_rows
    finally:
        if target:
            target.close()
    return rows


def _repeating(batch: pa.RecordBatch) -> list[str]:
    """Columns of which at most half of the first values differ."""
    first = batch.slice(0, 1000)
    return [name for name in first.schema.names if pc.count_distinct(first[name], mode="all").as_py() * 2 <= first.num_rows]


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Have a file or a folder on disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(parent: Path) -> None:
    """Remove what killed pulls left behind; those of living processes stay."""
    for path in parent.glob(".incoming-*"):
        owner = path.name.split("-")[1]
        if not Path(f"/proc/{owner}").exists():
            shutil.rmtree(path, ignore_errors=True)
