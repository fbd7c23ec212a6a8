"""What differs between the databases that departments run: how to connect read-only, what columns a table has, how each is cast to the
text that the database holds, and how times are compared. What is read, and what is new, belongs in ``database.py``.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import pyarrow as pa
from sqlalchemy.engine import URL

from sources.connectors.engine import literal, quoted

LOCAL = ZoneInfo("Asia/Shanghai")  # a time without an offset is Shanghai's, as in the warehouse
STATEMENT_TIMEOUT_SECONDS = 1800
BATCH_ROWS = 20_000  # of SQLite; PostgreSQL's driver makes batches of 16 MB


class DatabaseFault(Exception):
    """The database cannot be read; ``mend`` says what to do, ``passing`` whether trying again may help."""

    def __init__(self, what: str, mend: str, *, passing: bool = False) -> None:
        super().__init__(what)
        self.what, self.mend, self.passing = what, mend, passing


@dataclass(frozen=True)
class TableColumn:
    """A column as the database declares it. ``kind``: integer, timestamp, timestamptz, date, boolean, nested, binary or text."""

    name: str
    type: str
    kind: str


class Database(Protocol):
    """An open connection; every statement is read-only."""

    def columns(self, table: str) -> list[TableColumn]:
        """The columns of ``table`` or ``schema.table``; raises DatabaseFault where it is not there."""

    def after(self, column: TableColumn, moment: datetime) -> str:
        """SQL: the column's time lies after a moment."""

    def up_to(self, column: TableColumn, moment: datetime) -> str:
        """SQL: the column's time does not lie after a moment."""

    def between_days(self, column: TableColumn, first: str, last: str) -> str:
        """SQL: the column's date is one of the days from ``first`` to ``last`` (YYYY-MM-DD)."""

    def stream(self, columns: list[TableColumn], table: str, condition: str) -> Iterator[pa.RecordBatch]:
        """Batches of the rows that fulfil the condition, every column as text."""


def table_name(table: str) -> str:
    return ".".join(map(quoted, table.split(".")))


# ---------------------------------------------------------------------------------------------------------------------- PostgreSQL

_KINDS = {
    "smallint": "integer", "integer": "integer", "bigint": "integer", "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz", "date": "date", "boolean": "boolean", "bytea": "binary",
}  # fmt: skip
_PASSING = ("08", "57P", "53", "40", "55P03")  # connection lost, shutting down, too busy, replay conflict on a replica, a lock


class Postgres:
    """PostgreSQL over ADBC, which streams the binary copy protocol; casts to text are the server's own, so they are exact."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def columns(self, table: str) -> list[TableColumn]:
        sql = f"""
            select a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type,
                coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text as base,
                t.typcategory = 'A' or t.typtype = 'c' as is_nested
            from pg_attribute as a join pg_type as t on t.oid = a.atttypid
            where a.attrelid = to_regclass({literal(table_name(table))}) and a.attnum > 0 and not a.attisdropped
            order by a.attnum
        """
        with _postgres_faults(), self.connection.cursor() as cursor:
            cursor.execute(sql)
            found = cursor.fetch_arrow_table().to_pylist()
        if not found:
            raise DatabaseFault(f"there is no table {table}, or it may not be seen", "")
        return [TableColumn(row["name"], row["type"], "nested" if row["is_nested"] else _KINDS.get(row["base"], "text")) for row in found]

    def after(self, column: TableColumn, moment: datetime) -> str:
        return f"{quoted(column.name)} > {self._moment(column, moment)}"

    def up_to(self, column: TableColumn, moment: datetime) -> str:
        return f"{quoted(column.name)} <= {self._moment(column, moment)}"

    def between_days(self, column: TableColumn, first: str, last: str) -> str:
        return f"{quoted(column.name)} >= {literal(first)} and cast({quoted(column.name)} as date) <= date {literal(last)}"

    def _moment(self, column: TableColumn, moment: datetime) -> str:
        if column.kind == "timestamptz":
            return f"timestamptz {literal(moment.isoformat())}"
        return f"timestamp {literal(moment.astimezone(LOCAL).replace(tzinfo=None).isoformat())}"

    def stream(self, columns: list[TableColumn], table: str, condition: str) -> Iterator[pa.RecordBatch]:
        values = ", ".join(
            f"{f'to_json({quoted(c.name)})' if c.kind == 'nested' else quoted(c.name)}::text as {quoted(c.name)}" for c in columns
        )
        with _postgres_faults(), self.connection.cursor() as cursor:
            cursor.execute(f"select {values} from {table_name(table)} where {condition}")
            schema = pa.schema([(column.name, pa.string()) for column in columns])
            for batch in cursor.fetch_record_batch():
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


@contextlib.contextmanager
def postgres(url: URL, password: str | None) -> Iterator[Postgres]:
    """Connect to ``postgresql://user@host:port/database?sslmode=…``; what is in the query is libpq's to know."""
    options = {
        "default_transaction_read_only": "on", "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s", "lock_timeout": "30s",
        "DateStyle": "ISO", "TimeZone": LOCAL.key, "IntervalStyle": "iso_8601", "extra_float_digits": "1", "client_encoding": "UTF8",
    }  # fmt: skip
    parameters: dict[str, Any] = {
        "connect_timeout": 10, "tcp_user_timeout": 60_000, "application_name": "smart-safe-community", **url.query,
        "host": url.host, "port": url.port, "user": url.username, "dbname": url.database, "password": password,
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
    }  # fmt: skip
    escaped = {name: str(value).replace("\\", "\\\\").replace("'", "\\'") for name, value in parameters.items() if value is not None}
    with contextlib.ExitStack() as stack:
        with _postgres_faults():
            connection = adbc_driver_postgresql.dbapi.connect(" ".join(f"{name}='{value}'" for name, value in escaped.items()))
        stack.callback(_close, connection)
        yield Postgres(connection)


def _close(connection: Any) -> None:
    with contextlib.suppress(adbc_driver_manager.Error, OSError, RuntimeError):  # a lost connection cannot be closed in order
        connection.close()


@contextlib.contextmanager
def _postgres_faults() -> Iterator[None]:
    """libpq's and the server's words as a DatabaseFault. They name hosts, users and columns, never a password or a value."""
    try:
        yield
    except (adbc_driver_manager.Error, OSError) as error:
        state = getattr(error, "sqlstate", None) or ""
        said = str(error).split("ERROR:")[-1].split("FATAL:")[-1].split("SQLSTATE")[0].strip().split("\n")[0].removesuffix(".")
        if "password authentication failed" in said or "no password supplied" in said or state.startswith("28"):
            raise DatabaseFault(f"the database refuses the login ({said})", "{password}") from None
        if state == "57014":
            raise DatabaseFault(
                f"the database needed more than {STATEMENT_TIMEOUT_SECONDS} s for the answer", "have an index made on the column of read_by"
            ) from None
        if state == "42501":
            raise DatabaseFault(f"the login may not read it ({said})", "have the department grant select to the login") from None
        is_refused = "does not exist" in said or "pg_hba.conf" in said
        passing = state.startswith(_PASSING) if state else not is_refused
        raise DatabaseFault(f"the database cannot be read ({said})", "{url}" if passing or is_refused else "", passing=passing) from None


# -------------------------------------------------------------------------------------------------------------------------- SQLite


class Sqlite:
    """A SQLite file, opened read-only. Times are ISO 8601 text; one without an offset is Shanghai's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def columns(self, table: str) -> list[TableColumn]:
        schema, _, name = table.rpartition(".")
        with _sqlite_faults():
            found = self.connection.execute(f"pragma {quoted(schema or 'main')}.table_xinfo({quoted(name)})").fetchall()
        if not found:
            raise DatabaseFault(f"there is no table {table}", "")
        return [TableColumn(row[1], row[2], _sqlite_kind(row[2])) for row in found if row[6] != 1]

    def after(self, column: TableColumn, moment: datetime) -> str:
        return f"({self._from_day(column, moment)} and {_julian(column)} > julianday({literal(moment.isoformat())}))"

    def up_to(self, column: TableColumn, moment: datetime) -> str:
        return f"{_julian(column)} <= julianday({literal(moment.isoformat())})"

    def between_days(self, column: TableColumn, first: str, last: str) -> str:
        return f"({quoted(column.name)} >= {literal(first)} and substr({quoted(column.name)}, 1, 10) <= {literal(last)})"

    def _from_day(self, column: TableColumn, moment: datetime) -> str:
        """What an index can answer: the text sorts after the day before, whatever its offset."""
        return f"{quoted(column.name)} >= {literal((moment.astimezone(LOCAL) - timedelta(days=2)).date().isoformat())}"

    def stream(self, columns: list[TableColumn], table: str, condition: str) -> Iterator[pa.RecordBatch]:
        names = [column.name for column in columns]
        schema = pa.schema([(name, pa.string()) for name in names])
        with _sqlite_faults():
            cursor = self.connection.execute(f"select {', '.join(map(quoted, names))} from {table_name(table)} where {condition}")
            while rows := cursor.fetchmany(BATCH_ROWS):
                of_columns = zip(columns, zip(*rows, strict=True), strict=True)
                values = [pa.array([_sqlite_text(column, value) for value in of], pa.string()) for column, of in of_columns]
                yield pa.RecordBatch.from_arrays(values, schema=schema)


@contextlib.contextmanager
def sqlite(url: URL, _password: str | None) -> Iterator[Sqlite]:
    """Open ``sqlite:////absolute/path`` or ``sqlite:///relative/path``; a file that is not there is not made."""
    path = Path(url.database or "")
    if not path.is_file():
        raise DatabaseFault(f"the file {path} is not there", "{url}")
    with contextlib.ExitStack() as stack:
        with _sqlite_faults():
            connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0, check_same_thread=False)
            stack.callback(connection.close)
            connection.text_factory = lambda value: value.decode("utf-8", "backslashreplace")
            connection.execute("begin")  # one state of the file for the columns and the rows
        yield Sqlite(connection)


def _sqlite_kind(declared: str) -> str:
    """SQLite's own rules of affinity, and what a department means by the types that SQLite does not have."""
    declared = declared.upper()
    for word, kind in (("INT", "integer"), ("BOOL", "boolean"), ("BLOB", "binary"), ("TIMESTAMP", "timestamp"), ("DATETIME", "timestamp")):
        if word in declared:
            return kind
    return "date" if declared == "DATE" else "text"


def _sqlite_text(column: TableColumn, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        raise DatabaseFault(f"the column {column.name} holds binary values", "have it left out of the table or view")
    if column.kind == "boolean" and value in (0, 1):
        return "true" if value else "false"
    return repr(value)


def _julian(column: TableColumn) -> str:
    """The time in days, exact to a millisecond; null where the text is no time."""
    value = quoted(column.name)
    has_offset = f"({value} like '%Z' or substr({value}, 11) like '%+__:__' or substr({value}, 11) like '%-__:__')"
    return (
        f"julianday(case when {has_offset} then {value} when length({value}) = 10 then {value} || ' 00:00+08:00' "
        f"else {value} || '+08:00' end)"
    )


@contextlib.contextmanager
def _sqlite_faults() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        passing = isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))
        raise DatabaseFault(f"the database cannot be read ({error})", "{url}" if not passing else "pull again", passing=passing) from None


DIALECTS: dict[str, Callable[[URL, str | None], AbstractContextManager[Database]]] = {"postgresql": postgres, "sqlite": sqlite}
