"""Systems that let their database be read: a table or view of a SQLite file or a PostgreSQL replica, named by ``physicalName``.

``SSC_<SYSTEM>_URL`` is a URL as SQLAlchemy writes it (``sqlite:////path``, ``postgresql://user@host:port/database``), the password is
``SSC_<SYSTEM>_PASSWORD``. Values land as the database's own text: 1.10 stays 1.10, a time keeps its offset, one without an offset stays
without. Columns that the contract does not know land too. What databases differ in stands in ``dialects.py``.

``read_by`` names the column that tells what is new:

* A **change number** (integer) that every change raises. A pull takes the numbers above the greatest one seen. A number that was given
  out earlier may be committed later, so the numbers below that were never seen are remembered and asked for again: for ``GAP_HOURS``,
  at least once more, and at most ``GAP_RANGES`` ranges of them, the newest. A transaction that stays open longer is found by a backfill.
  A replica has no clock: the window's end tells when the replica was asked, not that nothing newer than it was read.
* A **time of change** (timestamp). A pull takes the times in (since, until], and begins ``OVERLAP`` before ``since``, because a row may
  be committed after a pull with a time that lies before it. Ten minutes is longer than a transaction of such a system lasts, and little
  beside the hour between two pulls. Rows that an earlier load of that span holds just so are left out, so that a bulk update shortly
  before a pull does not land twice.

A row without a number or time lands with the first load only. A backfill takes the rows whose time of change, or, where changes are
numbered, whose event time lies in its window.
"""

from __future__ import annotations

import hashlib
import logging
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import tenacity
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from sources.catalogue import Entity
from sources.connectors.dialects import DIALECTS, LOCAL, Database, DatabaseFault, TableColumn
from sources.connectors.engine import in_memory, literal, quoted
from sources.errors import PullError
from sources.landing import LoadWriter, Manifest, row_numbers, write_part
from sources.protect import identifier_key, is_protected, keyed_hashes

OVERLAP = timedelta(minutes=10)
GAP_HOURS = 6
GAP_RANGES = 2_000
ASKED_RANGES = 100  # of numbers in one statement; ranges that lie close are asked for as one, and sorted out here
ATTEMPTS = 5
WAIT = tenacity.wait_exponential_jitter(multiplier=0.5, max=20)
PART_ROWS = 500_000

log = logging.getLogger(__name__)
Range = tuple[int, int]


def read(entity: Entity, writer: LoadWriter, cursor: Any, is_backfill: bool) -> Manifest:
    """Read what is new since ``cursor``, or a backfill's window, and commit it as a load.

    Rows stream through a file of Arrow batches beside the load, identifiers already hashed, so that memory stays bounded.

    Raises:
        PullError: the database cannot be read; nothing was landed.
    """
    spool = writer.incoming / "spool.arrow"

    def again(error: BaseException) -> bool:
        return isinstance(error, DatabaseFault) and error.passing

    try:
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS), wait=WAIT, retry=tenacity.retry_if_exception(again), reraise=True
        ):
            with attempt, _connect(entity) as database:
                columns = _columns(entity, database)
                plan = _plan(entity, columns, database, writer, cursor, is_backfill)
                _spool(entity, database.stream(columns, entity.source, plan.condition), [c.name for c in columns], spool)
    except DatabaseFault as fault:
        url, password = entity.variable("url"), entity.variable("password")
        mend = {
            "{password}": f"set {password} as the department gave it, and the user in {url}",
            "{url}": f"check {url} and whether the database is up, then pull again; nothing was lost",
            "": f"compare the database with sources/catalog/{entity.system}.yml",
        }.get(fault.mend, fault.mend)
        tried = f" after {ATTEMPTS} attempts" if fault.passing else ""
        raise PullError(f"{fault.what}{tried}", where=f"{entity.system}/{entity.name} table {entity.source}", next_step=mend) from None
    with pa.memory_map(str(spool)) as file:
        spool.unlink()  # what is mapped stays until it is let go; the load is made of the folder as it is
        return plan.commit(pa.ipc.open_file(file).read_all())


def _connect(entity: Entity) -> AbstractContextManager[Database]:
    variable = entity.variable("url")
    where, known = f"{entity.system}/{entity.name}", " or ".join(f"{name}://…" for name in DIALECTS)
    try:
        url = make_url(str(entity.setting("url")))
    except (ArgumentError, ValueError):
        raise PullError(f"{variable} is no address of a database", where=where, next_step=f"write {known}") from None
    if url.get_backend_name() not in DIALECTS:
        raise PullError(f"{variable} names a database that is not known here", where=where, next_step=f"write {known}")
    if url.password:
        raise PullError(
            f"{variable} holds a password", where=where, next_step=f"take it out, and set {entity.variable('password')} instead"
        )
    return DIALECTS[url.get_backend_name()](url, entity.setting("password", required=False))


def _columns(entity: Entity, database: Database) -> list[TableColumn]:
    columns = database.columns(entity.source)
    if binary := [column.name for column in columns if column.kind == "binary"]:
        raise DatabaseFault(f"column {', '.join(binary)} is binary, and only text can land", "have it left out of the table or view")
    return columns


def _find(entity: Entity, columns: list[TableColumn], name: str) -> TableColumn:
    """The database's column for a column of the contract."""
    of = entity.column(name)
    names = (of.source_name, *of.synonyms)
    for column in columns:
        if column.name in names:
            return column
    raise DatabaseFault(f"there is no column {' or '.join(names)}, by which {name} is read", "")


class _Plan:
    """What is asked for, and what becomes of the rows that come: everything, here."""

    def __init__(self, writer: LoadWriter, condition: str, cursor_after: Any) -> None:
        self.writer, self.condition, self.cursor_after = writer, condition, cursor_after

    def keep(self, rows: pa.Table) -> pa.Table | None:
        """``_row`` of the rows to land, where not all do."""
        return None

    def commit(self, rows: pa.Table) -> Manifest:
        """Land the rows as parts.

        The content's hash is made of a hash of each row, and of no order: a database gives its rows in any.
        """
        columns = [name for name in rows.column_names if name != "_row"]
        keep = self.keep(rows)
        chosen = "where _row in (select _row from keep)" if keep is not None else ""
        with in_memory() as duck:
            duck.register("rows", rows)
            duck.register("keep", keep if keep is not None else rows.select(["_row"]).slice(0, 0))
            content = f"select count(*), sum(cast(hash({', '.join(map(quoted, columns))}) as hugeint)) from rows {chosen}"
            [(count, total)] = duck.execute(content).fetchall()
        load_id = self.writer.load_id(hashlib.sha256(f"{columns} {count} {total}".encode()).hexdigest())

        def write(number: int) -> None:
            part = rows.slice(number * PART_ROWS, PART_ROWS)
            if keep is not None:
                part = part.filter(pc.is_in(part["_row"], keep["_row"]))
            write_part(self.writer.part(number), part.to_batches(), load_id)

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            list(pool.map(write, range(-(-rows.num_rows // PART_ROWS) if count else 0)))
        return self.writer.commit(load_id, int(count), columns, self.cursor_after)


def _plan(entity: Entity, columns: list[TableColumn], database: Database, writer: LoadWriter, cursor: Any, is_backfill: bool) -> _Plan:
    told_by = _find(entity, columns, entity.options["read_by"])
    is_number = entity.column(entity.options["read_by"]).logical_type == "integer"
    if is_number and told_by.kind != "integer":
        raise DatabaseFault(f"column {told_by.name}, by which changes are numbered, is of type {told_by.type or 'none'}, no integer", "")
    if is_backfill:
        assert writer.since is not None
        if is_number and not entity.event_time:
            raise DatabaseFault("there is no event_time by which a backfill could choose", "add {property: event_time, value: <column>}")
        by = entity.event_time if is_number and entity.event_time else entity.options["read_by"]
        return _Plan(writer, _window(entity, by, columns, database, writer.since, writer.until), None)
    if is_number:
        return _ByNumber(writer, told_by.name, cursor if isinstance(cursor, dict) and "greatest" in cursor else {})
    if writer.since is None:
        upper = database.up_to(told_by, writer.until)
        return _Plan(writer, f"{upper} or ({upper}) is null", writer.until.isoformat())
    condition = _window(entity, entity.options["read_by"], columns, database, writer.since - OVERLAP, writer.until)
    return _ByTime(writer, condition, told_by.name, writer.since - OVERLAP)


def _window(entity: Entity, name: str, columns: list[TableColumn], database: Database, since: datetime, until: datetime) -> str:
    """SQL of (since, until]; a date belongs to the window that holds some of its day in Shanghai."""
    column = _find(entity, columns, name)
    if entity.column(name).logical_type == "date":
        first, last = (moment.astimezone(LOCAL).date().isoformat() for moment in (since, until - timedelta(microseconds=1)))
        return database.between_days(column, first, last)
    return f"{database.after(column, since)} and {database.up_to(column, until)}"


class _ByTime(_Plan):
    """Rows of a window that begins ``OVERLAP`` early, without those that earlier loads hold just so."""

    def __init__(self, writer: LoadWriter, condition: str, column: str, floor: datetime) -> None:
        super().__init__(writer, condition, writer.until.isoformat())
        self.column, self.floor = column, floor

    def keep(self, rows: pa.Table) -> pa.Table | None:
        columns = [name for name in rows.column_names if name != "_row"]
        parts = [p for m in self.writer.landed_after(self.floor) if sorted(m.columns) == sorted(columns) for p in m.parts]
        if not parts or not rows.num_rows:
            return None
        whole = f"md5(cast(to_json([{', '.join(map(quoted, columns))}]) as varchar))"
        files = ", ".join(literal(str(part)) for part in parts)
        with in_memory() as duck:
            duck.register("rows", rows)
            return duck.execute(
                f"""select _row from rows where {whole} not in (
                    select {whole} from read_parquet([{files}])
                    where {quoted(self.column)} in (select {quoted(self.column)} from rows)
                )"""
            ).to_arrow_table()


class _ByNumber(_Plan):
    """Rows whose change number lies above the greatest one seen, or is one of those below that were missing.

    The cursor: ``greatest``, and ``gaps``: when they were first missed, and the missing numbers as ``3-5,9``.
    """

    def __init__(self, writer: LoadWriter, column: str, cursor: dict[str, Any]) -> None:
        self.column, self.greatest = column, cursor.get("greatest")
        self.gaps = {gap["missed_at"]: ranges_of(gap["numbers"]) for gap in cursor.get("gaps", [])}
        self.missing = sorted(one for ranges in self.gaps.values() for one in ranges)
        name = quoted(column)
        asked = [f"{name} > {self.greatest}", *(f"{name} between {a} and {b}" for a, b in covering(self.missing, ASKED_RANGES))]
        super().__init__(writer, " or ".join(asked) if self.greatest is not None else "1 = 1", None)

    def keep(self, rows: pa.Table) -> pa.Table | None:
        number, keep = f"cast({quoted(self.column)} as bigint)", None
        with in_memory() as duck:
            duck.register("rows", rows)
            if self.greatest is None:
                duck.execute(f"create temp table taken as select {number} as n from rows")
                late = []
                fresh = "select n, lag(n, 1, 0) over (order by n) as earlier from taken where n > 0"
            else:
                ends = pa.schema([("first", pa.int64()), ("last", pa.int64())])
                duck.register("missing", pa.Table.from_pylist([{"first": a, "last": b} for a, b in self.missing], ends))
                keep = duck.execute(
                    f"""select _row, n from (select _row, {number} as n from rows)
                    where n > {self.greatest} or exists (select 1 from missing where n between first and last)"""
                ).to_arrow_table()
                duck.register("keep", keep)
                duck.execute("create temp view taken as select n from keep")
                late = [n for (n,) in duck.execute(f"select n from taken where n <= {self.greatest} order by n").fetchall()]
                fresh = f"select n, lag(n, 1, {self.greatest}) over (order by n) as earlier from taken where n > {self.greatest}"
            [(greatest,)] = duck.execute("select max(n) from taken").fetchall()
            missed = duck.execute(f"select earlier + 1, n - 1 from ({fresh}) where n > earlier + 1 order by n").fetchall()
        self.cursor_after = self._cursor(greatest, late, missed)
        return keep

    def _cursor(self, greatest: int | None, late: list[int], missed: list[Range]) -> dict[str, Any]:
        """The cursor after this load: gaps that are not too old, less what came late, and those found in this load."""
        until = self.writer.until
        oldest = until - timedelta(hours=GAP_HOURS)
        held = {at: without(ranges, late) for at, ranges in self.gaps.items() if datetime.fromisoformat(at) > oldest}
        held[until.astimezone(UTC).isoformat()] = missed
        left, gaps = GAP_RANGES, []
        for at in sorted(held, reverse=True):
            ranges = held[at][-left:] if left else []
            left -= len(ranges)
            if ranges:
                gaps.append({"missed_at": at, "numbers": numbers_of(ranges)})
        dropped = sum(map(len, held.values())) - (GAP_RANGES - left)
        if dropped:
            log.info("%s/%s: %d older gaps in the change numbers are not asked for again", self.writer.system, self.writer.entity, dropped)
        return {"greatest": max((n for n in (greatest, self.greatest) if n is not None), default=None), "gaps": gaps[::-1]}


def ranges_of(numbers: str) -> list[Range]:
    """``3-5,9`` as [(3, 5), (9, 9)]; numbers are not negative."""
    ends = [one.partition("-") for one in numbers.split(",") if one]
    return [(int(first), int(last or first)) for first, _, last in ends]


def numbers_of(ranges: list[Range]) -> str:
    """[(3, 5), (9, 9)] as ``3-5,9``."""
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def without(ranges: list[Range], numbers: list[int]) -> list[Range]:
    """Sorted ranges less some sorted numbers."""
    left: list[Range] = []
    for first, last in ranges:
        for number in numbers[bisect_left(numbers, first) : bisect_right(numbers, last)]:
            if first < number:
                left.append((first, number - 1))
            first = number + 1
        if first <= last:
            left.append((first, last))
    return left


def covering(ranges: list[Range], at_most: int) -> list[Range]:
    """At most so many ranges that cover sorted ranges, joined where they lie closest."""
    between = sorted(range(1, len(ranges)), key=lambda i: ranges[i][0] - ranges[i - 1][1], reverse=True)
    cuts = [0, *sorted(between[: at_most - 1]), len(ranges)]
    return [(ranges[a][0], ranges[b - 1][1]) for a, b in pairwise(cuts) if b > a]


def _spool(entity: Entity, batches: Iterator[pa.RecordBatch], names: list[str], path: Path) -> None:
    """Write the batches to a file as they come, identifiers hashed, with ``_row`` counted through; the next is fetched meanwhile."""
    key = identifier_key() if entity.identifiers else b""
    protected = [name for name in names if is_protected(entity, name)]
    schema = pa.schema([*((name, pa.string()) for name in names), ("_row", pa.int64())])
    count = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as target, ThreadPoolExecutor(1) as fetching:
        waiting = fetching.submit(next, batches, None)
        while (batch := waiting.result()) is not None:
            waiting = fetching.submit(next, batches, None)
            values = dict(zip(names, batch.columns, strict=True))
            for name in protected:
                values[name] = pa.array(keyed_hashes(values[name].to_pylist(), key), pa.string())
            rows = row_numbers(count, batch.num_rows)
            target.write_batch(pa.RecordBatch.from_arrays([*values.values(), rows], schema=schema))
            count += batch.num_rows
