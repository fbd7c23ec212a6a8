"""Systems that leave files in a folder: CSV in any encoding and newline-delimited JSON, plain or gzipped, read by DuckDB; workbooks,
whose sheets ``workbooks.py`` reads.

``SSC_<SYSTEM>_URL`` is the folder (``file:///…`` or a path); the entity's ``physicalName`` is a glob of file names in it. The cursor is
the folder as it was left: name -> size and modification time, so that a file that comes late under an old date, or is exported
again, is taken. A file that changes while it is read is left for the next pull. Lines that are no record land whole in ``_malformed``.

``_row`` is the file's number in the load times 10^9 plus the row in the file; in a sheet that is the row's number as Excel shows it.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import duckdb
import fsspec
import polars as pl
import pyarrow as pa

from sources.catalogue import Entity
from sources.connectors.engine import in_memory, literal, quoted
from sources.connectors.text import as_text, parse
from sources.connectors.workbooks import ROW, WorkbookFault, read_sheet
from sources.errors import PullError
from sources.landing import ROW_GROUP, LoadWriter, Manifest, row_numbers, sha256_of, write_part
from sources.protect import identifier_key, is_protected, keyed_hash_sql, protect_frame

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
    chosen.sort(key=lambda path: (int(present[path].split(":")[1]), path.name))  # what arrived later counts as later
    faults: list[str] = []
    files: list[Delivered] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for path, digest in zip(chosen, [pool.submit(sha256_of, path) for path in chosen], strict=True):
            try:
                files.append(Delivered(path, present[path], digest.result()))
            except (OSError, EOFError, zlib.error) as error:
                faults.append(f"{path.name} ({error})")
    content = hashlib.sha256("\n".join(f"{file.path.name} {file.sha256}" for file in files).encode()).hexdigest()
    load_id = writer.load_id(content)
    key = identifier_key() if entity.identifiers else b""
    threads = max(1, (os.cpu_count() or 1) // max(1, len(files)))  # of one file, where there are fewer files than processors

    def land(number: int) -> tuple[list[str], int] | None:
        part = writer.part(number)
        try:
            landed = _land(entity, files[number].path, number, load_id, part, key, threads)
        except (duckdb.Error, OSError, EOFError, WorkbookFault) as error:
            faults.append(f"{files[number].path.name} ({str(error).splitlines()[0]})")
            landed = None
        if landed is None or _mark(files[number].path) != files[number].mark:
            part.unlink(missing_ok=True)
            _beside(part).unlink(missing_ok=True)
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
    url = str(entity.setting("url"))
    parts = urlsplit(url)
    folder = Path(unquote(parts.path) if parts.scheme == "file" else url)
    if not folder.is_dir():
        raise PullError(
            f"the folder {folder} is not there",
            where=f"{entity.system}/{entity.name}",
            next_step=f"mount it, or set {entity.variable('url')} to where the department leaves its files",
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


def _check_whole(path: Path) -> None:
    """Raises EOFError or zlib.error where a gzip ends too early or is damaged: DuckDB reads what is left of it as if it were whole."""
    inflate, whole = zlib.decompressobj(wbits=31), path.suffix != ".gz"
    with path.open("rb") as file:
        while path.suffix == ".gz" and (block := file.read(1 << 20)):
            while block:
                inflate.decompress(block)
                whole, block = inflate.eof, inflate.unused_data
                if whole:
                    inflate = zlib.decompressobj(wbits=31)
    if not whole:
        raise EOFError("it ends in the middle")


def _land(entity: Entity, path: Path, number: int, load_id: str, part: Path, key: bytes, threads: int) -> tuple[list[str], int]:
    """Write one file as one part; returns its column names and its rows."""
    if entity.server.file_format == "xlsx":
        return _land_sheet(entity, path, number, load_id, part, key)
    is_csv = str(entity.server.file_format).startswith("csv")
    is_utf8 = entity.server.encoding.upper().replace("_", "-") in ("UTF-8", "UTF8")
    with in_memory(threads) as engine:
        engine.register_filesystem(fsspec.filesystem("memory"))
        if is_utf8 and not is_csv and not entity.identifiers and (shape := _first_shape(path)):
            with contextlib.suppress(duckdb.Error):  # a line of another shape: below it is told which
                rows = _copy(entity, engine, shape.select(path), shape.columns, number, load_id, part, key)
                if shape.explains(engine, part, rows, path):
                    return shape.columns, rows
        _check_whole(path)

        def read(source: str) -> tuple[list[str], int]:
            if is_csv:
                return _land_csv(entity, engine, source, number, load_id, part, key)
            select, columns = _ndjson(entity, engine, source)
            return columns, _copy(entity, engine, select, columns, number, load_id, part, key)

        if is_utf8:
            try:
                return read(str(path))
            except (duckdb.Error, OSError) as error:  # what DuckDB finds while it streams to Arrow is an OSError
                if "utf" not in str(error).lower() and "unicode" not in str(error).lower():
                    raise
        transcoded = _transcode(entity, path)
        try:
            return read(transcoded)
        finally:
            fsspec.filesystem("memory").rm(transcoded.removeprefix("memory://"))


def _land_sheet(entity: Entity, path: Path, number: int, load_id: str, part: Path, key: bytes) -> tuple[list[str], int]:
    rows = read_sheet(entity, path)
    columns = [name for name in rows.columns if name != ROW]
    if rows.height:
        protect_frame(entity, rows.select(columns), key).with_columns(
            pl.lit(load_id).alias("_load_id"), (rows[ROW] + number * FILE_STRIDE).alias("_row")
        ).write_parquet(part, compression="zstd", statistics=True)
    return columns, rows.height


@dataclass(frozen=True)
class Shape:
    """The fields of a file's first record, and the bytes of a line beyond their values: names, quotes, commas, the line's end.

    Most exports repeat one shape. Where frames and values together make up every byte of a file, it holds no other field, and every
    number was read with the digits that were sent; so such a file need not be looked at line by line.
    """

    columns: list[str]
    frame: int

    def select(self, path: Path) -> str:
        """SQL that reads the fields as text; it fails at a line that is no record."""
        fields = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in self.columns)
        return (
            f"select * from read_json({literal(str(path))}, format='newline_delimited', maximum_object_size=16777216, columns={{{fields}}})"
        )

    def explains(self, engine: duckdb.DuckDBPyConnection, part: Path, rows: int, path: Path) -> bool:
        """Whether the part's rows are all that the file holds. The size of a gzip's content stands in its last four bytes (RFC 1952)."""
        if path.suffix == ".gz":
            with path.open("rb") as file:
                file.seek(-4, os.SEEK_END)
                size = int.from_bytes(file.read(4), "little")
        else:
            size = path.stat().st_size
        if not rows:
            return size == 0
        lengths = " + ".join(f"sum(strlen({quoted(name)}))" for name in self.columns)
        counts = ", ".join(f"count({quoted(name)})" for name in self.columns)
        [(length, *present)] = engine.execute(f"select {lengths}, {counts} from read_parquet({literal(str(part))})").fetchall()
        expected = int(length) + rows * self.frame
        return all(count == rows for count in present) and size in (expected % 2**32, (expected - 1) % 2**32)


def _first_shape(path: Path) -> Shape | None:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            line = file.readline(1 << 20)
        record = parse(line.decode())
    except (OSError, EOFError, zlib.error, ValueError):
        return None
    if not isinstance(record, dict) or not record or any(isinstance(value, (dict, list)) or value is None for value in record.values()):
        return None
    return Shape(list(record), len(line.rstrip(b"\n")) + 1 - sum(len(str(as_text(value)).encode()) for value in record.values()))


def _transcode(entity: Entity, path: Path) -> str:
    """The file in UTF-8, in memory. Bytes outside its encoding stay readable as \\xNN."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        text = file.read().decode(entity.server.encoding, errors="backslashreplace")
    name = f"memory://{os.getpid()}-{id(text)}-{path.name.removesuffix('.gz')}"
    with fsspec.open(name, "wb") as target:
        target.write(text.removeprefix("\ufeff").encode())
    return name


def _values(entity: Entity, columns: list[str], key: bytes) -> str:
    return ", ".join(
        f"{keyed_hash_sql(quoted(name), key)} as {quoted(name)}" if is_protected(entity, name) else quoted(name) for name in columns
    )


def _copy(
    entity: Entity, engine: duckdb.DuckDBPyConnection, select: str, columns: list[str], number: int, load_id: str, part: Path, key: bytes
) -> int:
    if not columns:  # a file without a line
        return 0
    first = number * FILE_STRIDE
    query = (
        f"select {_values(entity, columns, key)}, {literal(load_id)} as _load_id, {first} + row_number() over () as _row from ({select})"
    )
    options = "format parquet, compression zstd, parquet_version v2"  # v2 writes counted rows and long texts in half the bytes
    [(rows,)] = engine.execute(f"copy ({query}) to {literal(str(part))} ({options})").fetchall()
    if not rows:
        part.unlink()
    return int(rows)


def _land_csv(
    entity: Entity, engine: duckdb.DuckDBPyConnection, source: str, number: int, load_id: str, part: Path, key: bytes
) -> tuple[list[str], int]:
    """Stream a CSV file with a header into a part, all as text; lines that do not fit the header are kept as they are, in another."""
    header = _header(entity, source)
    columns = [name or f"column{position}" for position, name in enumerate(header)]
    columns = [name if columns.index(name) == position else f"{name}_{position}" for position, name in enumerate(columns)]
    shape = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in columns)
    engine.execute("drop table if exists rejects; drop table if exists rejects_scan")
    lines = engine.execute(
        f"select {_values(entity, columns, key)} from read_csv({literal(source)}, header=true, auto_detect=false, columns={{{shape}}}, "
        f"delim={literal(entity.server.delimiter)}, quote='\"', escape='\"', store_rejects=true, rejects_table='rejects', "
        "rejects_scan='rejects_scan')"
    ).to_arrow_reader(ROW_GROUP)
    rows = write_part(part, _counted(lines, number * FILE_STRIDE + 1), load_id)
    if engine.execute("select 1 from rejects where error_type = 'INVALID ENCODING' limit 1").fetchone():
        raise duckdb.InvalidInputException("a line is not in UTF-8")
    bad = engine.execute(
        f"select csv_line as {MALFORMED} from (select line, min(csv_line) as csv_line from rejects group by line order by line)"
    ).to_arrow_reader(ROW_GROUP)
    if more := write_part(_beside(part), _counted(bad, number * FILE_STRIDE + rows + 1), load_id):
        return [*columns, MALFORMED], rows + more
    return columns, rows


def _counted(batches: Iterable[pa.RecordBatch], row: int) -> Iterator[pa.RecordBatch]:
    """The batches with ``_row``, counted on from ``row``."""
    for batch in batches:
        yield batch.append_column("_row", row_numbers(row, batch.num_rows))
        row += batch.num_rows


def _beside(part: Path) -> Path:
    """Where the lines of a file lie that are no record."""
    return part.with_name(f"{part.stem}-malformed.parquet")


def _header(entity: Entity, source: str) -> list[str]:
    compression = "gzip" if source.endswith(".gz") else None
    with fsspec.open(source if "://" in source else f"file://{source}", "rb", compression=compression) as file:
        first = io.TextIOWrapper(file, encoding="utf-8-sig", errors="backslashreplace", newline="").readline()
    return next(csv.reader([first], delimiter=entity.server.delimiter), [])


def _ndjson(entity: Entity, engine: duckdb.DuckDBPyConnection, source: str) -> Selection:
    """The records of an NDJSON file, each top-level field as text; numbers keep the digits that were sent."""
    lines = (
        f"(select column0 as line from read_csv({literal(source)}, columns={{column0: 'VARCHAR'}}, auto_detect=false, header=false, "
        "delim='\x01', quote='', escape='', max_line_size=16777216) where column0 is not null)"
    )
    is_record = "case when json_valid(line) then json_type(line) = 'OBJECT' else false end"
    keys = engine.execute(f"select distinct case when {is_record} then json_keys(line) end from {lines}").fetchall()
    found = {name for (names,) in keys for name in names or ()}
    is_mixed = any(names is None for (names,) in keys)
    known = [column.source_name for column in entity.columns if column.source_name in found]
    columns = known + sorted(found - set(known))
    numeric = {column.source_name for column in entity.columns if column.logical_type in ("number", "integer")}
    paths = "[" + ", ".join(literal('$."' + name.replace('"', '\\"') + '"') for name in columns) + "]::varchar[]"
    values = []
    for position, name in enumerate(columns, start=1):
        value = f"v[{position}]"
        if name in numeric:  # the digits found by pattern, where they are the number that the JSON reader found
            pattern = literal(f'"{_regex(name)}" *: *(-?[0-9][0-9.eE+-]*)')
            sent = f"regexp_extract(line, {pattern}, 1)"
            value = f"case when try_cast({sent} as double) = try_cast({value} as double) then {sent} else {value} end"
        values.append(f"{value} as {quoted(name)}")
    if is_mixed:
        values.append(f"case when is_record then null else line end as {MALFORMED}")
    inner = f"select line, is_record, case when is_record then json_extract_string(line, {paths}) end as v"
    return (
        f"select {', '.join(values)} from ({inner} from (select line, {is_record} as is_record from {lines}))",
        columns + [MALFORMED] * is_mixed,
    )


def _regex(text: str) -> str:
    return "".join(c if c.isalnum() or c == "_" else f"\\{c}" for c in text)
