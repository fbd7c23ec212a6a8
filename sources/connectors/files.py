"""Systems that leave files in a folder: CSV in any encoding and newline-delimited JSON, plain or gzipped, read by DuckDB.

``SSC_<SYSTEM>_URL`` is the folder (``file:///…`` or a path); the entity's ``physicalName`` is a glob of file names in it. The cursor is
the folder as it was left: name -> size and modification time, so that a file that comes late under an old date, or is exported
again, is taken. A file that changes while it is read is left for the next pull. Lines that are no record land whole in ``_malformed``.

``_row`` is the file's number in the load times 10^9 plus the row in the file.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import duckdb
import fsspec

from sources.catalogue import Entity
from sources.connectors.text import as_text, parse
from sources.errors import PullError
from sources.landing import LoadWriter, Manifest
from sources.protect import identifier_key, is_protected, keyed_hash_sql
from sources.settings import of_system

Selection = tuple[str, list[str]]  # a query whose columns are the file's, and their names
FILE_STRIDE = 1_000_000_000
MALFORMED = "_malformed"


@dataclass(frozen=True)
class Delivered:
    """One file as it was seen in the folder."""

    path: Path
    mark: str
    sha256: str


def read(entity: Entity, writer: LoadWriter, cursor: dict[str, str] | None, is_backfill: bool) -> Manifest:
    """Read the files that are new since ``cursor`` (a backfill: those modified in its window) and commit them as a load.

    A file that cannot be read holds up no other: the others are committed, then the error names it, and every later pull tries it
    again. A file that is still being written is left for the next pull.

    Raises:
        PullError: the folder, or some of its files, cannot be read.
    """
    present = _listing(entity, _folder(entity), writer.until)
    if is_backfill:
        assert writer.since is not None
        floor = writer.since.timestamp()
        chosen = [path for path, mark in present.items() if int(mark.split(":")[1]) / 1e9 > floor]
    else:
        chosen = [path for path, mark in present.items() if (cursor or {}).get(path.name) != mark]
    faults: list[str] = []
    files: list[Delivered] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for path, digest in zip(chosen, [pool.submit(_digest, path) for path in chosen], strict=True):
            try:
                files.append(Delivered(path, present[path], digest.result()))
            except (OSError, EOFError, zlib.error) as error:
                faults.append(f"{path.name} ({error})")
    content = hashlib.sha256("\n".join(f"{file.path.name} {file.sha256}" for file in files).encode()).hexdigest()
    load_id = writer.load_id(content)
    key = identifier_key() if entity.identifiers else b""

    def land(number: int) -> tuple[list[str], int] | None:
        part = writer.part(number)
        try:
            landed = _land(entity, files[number].path, number, load_id, part, key)
        except (duckdb.Error, OSError, EOFError) as error:
            faults.append(f"{files[number].path.name} ({str(error).splitlines()[0]})")
            landed = None
        if landed is None or _mark(files[number].path) != files[number].mark:
            part.unlink(missing_ok=True)
            return None
        return landed

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        landed = list(pool.map(land, range(len(files))))
    taken = {file.path for file, outcome in zip(files, landed, strict=True) if outcome}
    columns = list(dict.fromkeys(name for outcome in landed if outcome for name in outcome[0]))
    after = {path.name: mark for path, mark in present.items() if path not in chosen or path in taken}
    rows = sum(outcome[1] for outcome in landed if outcome)
    manifest = writer.commit(load_id, rows, columns, None if is_backfill else after)
    if faults:
        raise PullError(
            f"{len(faults)} file(s) cannot be read as {entity.server.file_format}: {'; '.join(sorted(faults))}",
            where=f"{entity.system}/{entity.name} load {manifest.load_id}",
            next_step="ask the department to deliver them again; they are tried at every pull, and the other files were landed",
        )
    return manifest


def _folder(entity: Entity) -> Path:
    url = str(of_system(entity.system, "url"))
    parts = urlsplit(url)
    folder = Path(unquote(parts.path) if parts.scheme == "file" else url)
    if not folder.is_dir():
        raise PullError(
            f"the folder {folder} is not there",
            where=f"{entity.system}/{entity.name}",
            next_step=f"mount it, or set SSC_{entity.system.upper()}_URL to where the department leaves its files",
        )
    return folder


def _listing(entity: Entity, folder: Path, until: datetime) -> dict[Path, str]:
    """Files of the entity that had arrived by ``until``, with their marks."""
    latest = until.astimezone(UTC).timestamp()
    found = {}
    for path in sorted(folder.glob(entity.source)):
        if path.is_file() and not path.name.startswith(".") and path.stat().st_mtime <= latest:
            found[path] = _mark(path)
    return found


def _mark(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def _digest(path: Path) -> str:
    """sha256 of the file; a gzip that ends too early or is damaged is refused, since DuckDB reads what is left of it as if whole."""
    digest, inflate, whole = hashlib.sha256(), zlib.decompressobj(wbits=31), path.suffix != ".gz"
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            while block and path.suffix == ".gz":
                inflate.decompress(block)
                whole, block = inflate.eof, inflate.unused_data
                if whole:
                    inflate = zlib.decompressobj(wbits=31)
    if not whole:
        raise EOFError("it ends in the middle")
    return digest.hexdigest()


@contextmanager
def _engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of one thread that never spills, so that no clear value reaches the disk."""
    connection = duckdb.connect(config={"threads": 1, "temp_directory": "", "memory_limit": "700MB"})
    try:
        connection.register_filesystem(fsspec.filesystem("memory"))
        yield connection
    finally:
        connection.close()


def _land(entity: Entity, path: Path, number: int, load_id: str, part: Path, key: bytes) -> tuple[list[str], int]:
    """Write one file as one part; returns its column names and its rows."""
    select = _csv if str(entity.server.file_format).startswith("csv") else _ndjson
    is_utf8 = entity.server.encoding.upper().replace("_", "-") in ("UTF-8", "UTF8")

    def copy(engine: duckdb.DuckDBPyConnection, source: str) -> tuple[list[str], int]:
        refused: duckdb.Error | None = None
        for selection, columns in select(entity, engine, source):
            try:
                return columns, _copy(entity, engine, selection, columns, number, load_id, part, key)
            except duckdb.InvalidInputException as error:
                refused = error
        assert refused is not None
        raise refused

    with _engine() as engine:
        if is_utf8:
            try:
                return copy(engine, str(path))
            except duckdb.Error as error:
                if "utf" not in str(error).lower() and "unicode" not in str(error).lower():
                    raise
        transcoded = _transcode(entity, path)
        try:
            return copy(engine, transcoded)
        finally:
            fsspec.filesystem("memory").rm(transcoded.removeprefix("memory://"))


def _transcode(entity: Entity, path: Path) -> str:
    """The file in UTF-8, in memory. Bytes outside its encoding stay readable as \\xNN."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        text = file.read().decode(entity.server.encoding, errors="backslashreplace")
    name = f"memory://{os.getpid()}-{id(text)}-{path.name.removesuffix('.gz')}"
    with fsspec.open(name, "wb") as target:
        target.write(text.removeprefix("\ufeff").encode())
    return name


def _copy(
    entity: Entity, engine: duckdb.DuckDBPyConnection, select: str, columns: list[str], number: int, load_id: str, part: Path, key: bytes
) -> int:
    values = ", ".join(
        f"{keyed_hash_sql(_quoted(name), key)} as {_quoted(name)}" if is_protected(entity, name) else _quoted(name) for name in columns
    )
    query = f"select {values}, {_text(load_id)} as _load_id, {number * FILE_STRIDE} + row_number() over () as _row from ({select})"
    [(rows,)] = engine.execute(f"copy ({query}) to {_text(str(part))} (format parquet, compression zstd)").fetchall()
    if not rows:
        part.unlink()
    return int(rows)


def _csv(entity: Entity, engine: duckdb.DuckDBPyConnection, source: str) -> Iterator[Selection]:
    """The rows of a CSV file with a header, all as text; lines that do not fit the header are kept as they are."""
    header = _header(entity, source)
    columns = [name or f"column{position}" for position, name in enumerate(header)]
    columns = [name if columns.index(name) == position else f"{name}_{position}" for position, name in enumerate(columns)]
    shape = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in columns)
    engine.execute("drop table if exists rejects; drop table if exists rejects_scan; drop table if exists landed")
    reader = (
        f"read_csv({_text(source)}, header=true, auto_detect=false, columns={{{shape}}}, delim={_text(entity.server.delimiter)}, "
        "quote='\"', escape='\"', store_rejects=true, rejects_table='rejects', rejects_scan='rejects_scan')"
    )
    select = f"select {', '.join(map(_quoted, columns))} from {reader}"
    engine.execute(f"create temp table landed as {select}")
    bad = engine.execute("select count(*) from rejects").fetchall()[0][0]
    select = f"select {', '.join(map(_quoted, columns))} from landed"
    if bad:
        empty = ", ".join("null" for _ in columns)
        select = (
            f"select *, null as {MALFORMED} from ({select}) union all "
            f"select {empty}, csv_line from (select line, min(csv_line) as csv_line from rejects group by line order by line)"
        )
        columns = [*columns, MALFORMED]
    yield select, columns


def _header(entity: Entity, source: str) -> list[str]:
    compression = "gzip" if source.endswith(".gz") else None
    with fsspec.open(source if "://" in source else f"file://{source}", "rb", compression=compression) as file:
        first = io.TextIOWrapper(file, encoding="utf-8-sig", errors="backslashreplace", newline="").readline()
    return next(csv.reader([first], delimiter=entity.server.delimiter), [])


def _ndjson(entity: Entity, engine: duckdb.DuckDBPyConnection, source: str) -> Iterator[Selection]:
    """The records of an NDJSON file, each top-level field as text; numbers keep the digits that were sent.

    Most exports repeat the shape of their first record. That is tried first, and fails at the first line that holds another field or
    is no record; only then are the fields of all lines collected.
    """
    lines = (
        f"(select column0 as line from read_csv({_text(source)}, columns={{column0: 'VARCHAR'}}, auto_detect=false, header=false, "
        "delim='\x01', quote='', escape='', max_line_size=16777216) where column0 is not null)"
    )
    first = engine.execute(f"select line from {lines} limit 1").fetchone()
    try:
        record = parse(first[0]) if first else None
    except ValueError:
        record = None
    if isinstance(record, dict) and record:
        frame = len(first[0].encode()) - sum(len((as_text(value) or "").encode()) for value in record.values())
        yield _records(entity, lines, list(record), frame=frame), list(record)
    is_record = "case when json_valid(line) then json_type(line) = 'OBJECT' else false end"
    keys = engine.execute(f"select distinct json_keys(line) from {lines} where {is_record}").fetchall()
    found = {name for (names,) in keys for name in names}
    known = [column.source_name for column in entity.columns if column.source_name in found]
    columns = known + sorted(found - set(known))
    yield _records(entity, lines, columns, is_record=is_record), [*columns, MALFORMED]


def _records(entity: Entity, lines: str, columns: list[str], *, frame: int | None = None, is_record: str = "") -> str:
    """SQL that reads ``columns`` out of the lines.

    A line whose length is its frame (names, quotes, commas) and its values together holds nothing else, and its numbers stand in it
    as they were read. In other lines numbers are searched by pattern, and taken where they are the number that the JSON reader found.

    Args:
        frame: bytes of a line beyond its values; given, a line with a field beyond ``columns`` ends the query with an error.
        is_record: SQL that tells records from other lines, which go to ``_malformed``.
    """
    numeric = {column.source_name for column in entity.columns if column.logical_type in ("number", "integer")}
    listed = "[" + ", ".join(map(_text, columns)) + "]::varchar[]"
    paths = "[" + ", ".join(_text('$."' + name.replace('"', '\\"') + '"') for name in columns) + "]::varchar[]"
    plain = "coalesce(strlen(line) = " + " + ".join([str(frame), *(f"strlen(v[{n}])" for n in range(1, len(columns) + 1))]) + ", false)"
    values = []
    for position, name in enumerate(columns, start=1):
        value = f"v[{position}]"
        if name in numeric:
            pattern = _text(f'"{_regex(name)}" *: *(-?[0-9][0-9.eE+-]*)')
            sent = f"regexp_extract(line, {pattern}, 1)"
            value = f"case when is_plain then {value} when try_cast({sent} as double) = try_cast({value} as double) then {sent} else {value} end"
        if position == 1 and frame is not None:
            is_other = "not coalesce(list_has_all(" + listed + ", json_keys(line)), false) or len(json_keys(line)) = 0"
            value = f"case when not is_plain and ({is_other}) then error('another shape') else {value} end"
        values.append(f"{value} as {_quoted(name)}")
    extracted = f"json_extract_string(line, {paths})"
    if is_record:
        extracted = f"case when {is_record} then {extracted} end"
        values.append(f"case when {is_record} then null else line end as {MALFORMED}")
    inner = f"select line, {extracted} as v from {lines}"
    return f"select {', '.join(values)} from (select line, v, {plain if frame is not None else 'false'} as is_plain from ({inner}))"


def _regex(text: str) -> str:
    return "".join(c if c.isalnum() or c == "_" else f"\\{c}" for c in text)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
