"""DuckDB as the connectors use it: it never spills, so that no clear value reaches the disk; and how names and texts are quoted in SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb


@contextmanager
def in_memory() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of one thread in memory; what is parallel in a connector runs one of these to a thread."""
    connection = duckdb.connect(config={"threads": 1, "temp_directory": "", "memory_limit": "700MB"})
    try:
        yield connection
    finally:
        connection.close()


def quoted(name: str) -> str:
    """An identifier in double quotes, the same for DuckDB, PostgreSQL and SQLite."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A text literal."""
    return "'" + value.replace("'", "''") + "'"
