"""DuckDB as the connectors use it: it never spills, so that no clear value reaches the disk; and how names and texts are quoted in SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb


@contextmanager
def in_memory(threads: int = 1) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory. A connector with several things to do at once runs one of these to a thread of its own."""
    connection = duckdb.connect(config={"threads": threads, "temp_directory": "", "memory_limit": "700MB"})
    connection.execute("set enable_progress_bar = false")
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
