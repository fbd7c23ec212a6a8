"""The spool: segments of rows that the collector has received and no load holds yet, and the collector's heartbeat.

``data/spool/<system>/<server>/<entity>/<number>.ndjson``: one row to a line, every value the text that was sent, identifiers hashed.
Where the rows come from and where they go belongs elsewhere: the collector writes, ``connectors/stream.py`` takes.

A segment is written as ``<number>.open`` and gets its name by rename when it is closed; then it never changes. Numbers grow, so
that "the last one taken" says it all. What :meth:`Segments.append` has returned from is on the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sources.landing import sync
from sources.settings import data_dir

SUFFIX, OPEN = ".ndjson", ".open"
SEGMENT_SECONDS = 2.0
SEGMENT_ROWS = 20_000
CLIENT_ID = "client_id"  # the collector's name at a server's broker, which keeps what was sent for it
HEARTBEAT = "collector.json"


def spool_dir() -> Path:
    return data_dir() / "spool"


def folder(system: str, server: str, entity: str) -> Path:
    return spool_dir() / system / server / entity


def closed(of: Path) -> list[Path]:
    """The closed segments in a folder, oldest first."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(path for path in of.iterdir() if path.suffix == SUFFIX)
    return []


def number(segment: Path) -> int:
    return int(segment.stem)


def take_over(of: Path) -> int:
    """Close what a killed collector left open; returns the rows in it.

    What was on the disk for certain begins the file and is a whole line; from the first line that is none, nothing was acknowledged.
    """
    rows = 0
    for path in sorted(of.glob(f"*{OPEN}")):
        whole = 0
        with path.open("r+b") as file:
            for line in file:
                if not line.endswith(b"\n") or not _is_row(line):
                    break
                whole += len(line)
                rows += 1
            file.truncate(whole)
            os.fsync(file.fileno())
        if whole:
            path.rename(path.with_suffix(SUFFIX))
        else:
            path.unlink()
    if rows:
        sync(of)
    return rows


def _is_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


class Segments:
    """The segments of one entity of one server, as its only writer sees them.

    after: the greatest number that was ever taken; new segments are numbered beyond it, and beyond those that lie there.
    """

    def __init__(self, of: Path, after: int = 0) -> None:
        self.folder = of
        spool_dir().mkdir(parents=True, exist_ok=True, mode=0o700)
        of.mkdir(parents=True, exist_ok=True, mode=0o700)
        take_over(of)
        self.last = max([after, *(number(path) for path in closed(of))])
        self.path: Path | None = None
        self.descriptor = -1
        self.size = self.rows = 0
        self.opened_at = 0.0
        self.is_torn = False

    def append(self, lines: list[bytes]) -> None:
        """Add rows and have them on the disk.

        Raises:
            OSError: they are not there, and the segment ends before them.
        """
        if self.is_torn:
            self._mend()
        if self.path is None:
            self._open()
        block = memoryview(b"".join(lines))
        added = len(block)
        try:
            while block:
                block = block[os.write(self.descriptor, block) :]
            os.fdatasync(self.descriptor)
        except OSError:
            self.is_torn = True
            self._mend()
            raise
        self.size += added
        self.rows += len(lines)

    def close_when_due(self) -> None:
        """Close the segment when it is old or long enough."""
        if self.path is not None and (time.monotonic() - self.opened_at >= SEGMENT_SECONDS or self.rows >= SEGMENT_ROWS):
            self.close()

    def close(self) -> None:
        """Close the open segment, if there is one, so that it can be taken.

        Raises:
            OSError: it stays open, and what is in it is safe.
        """
        if self.is_torn:
            self._mend()
        elif self.path is not None:
            self._end(keep=True)

    def _open(self) -> None:
        chosen = max(time.time_ns() // 1000, self.last + 1)
        path = self.folder / f"{chosen:018d}{OPEN}"
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self.path, self.last = path, chosen
        self.size = self.rows = 0
        self.opened_at = time.monotonic()
        sync(self.folder)

    def _mend(self) -> None:
        """Cut off what did not reach the disk and end the segment: after a failed sync the kernel may hold its pages for written,
        so what follows goes into another file. A segment that cannot be mended yet stands in the way of the next: their order counts.
        """
        os.ftruncate(self.descriptor, self.size)
        os.fsync(self.descriptor)
        self._end(keep=self.size > 0)
        self.is_torn = False

    def _end(self, *, keep: bool) -> None:
        assert self.path is not None
        if keep:
            self.path.rename(self.path.with_suffix(SUFFIX))
        else:
            self.path.unlink()
        os.close(self.descriptor)
        self.path = None
        sync(self.folder)


@contextlib.contextmanager
def taken_by(of: Path) -> Iterator[None]:
    """Only one at a time takes the segments of a folder; waits for its turn. The writer is not held up."""
    of.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (of / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def beat(servers: dict[str, dict[str, Any]], **facts: Any) -> None:
    """Write the heartbeat: when, and for each ``<system>/<server>`` how it is and what it has received."""
    spool_dir().mkdir(parents=True, exist_ok=True, mode=0o700)
    path = spool_dir() / HEARTBEAT
    draft = path.with_suffix(".tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({"at": datetime.now(UTC).isoformat(timespec="seconds"), **facts, "servers": servers}, file, ensure_ascii=False, indent=1)
    os.replace(draft, path)


def heartbeat() -> dict[str, Any] | None:
    """The newest heartbeat; None where no collector ever ran."""
    try:
        return json.loads((spool_dir() / HEARTBEAT).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
