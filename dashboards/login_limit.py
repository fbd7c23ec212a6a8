"""A counter for the login limit that all server processes share: one small SQLite file.

The limiter's own memory storage counts per process, so that two workers would allow twice the attempts, and a restart would
forget them. Registered with ``limits`` under the scheme ``ssc-sqlite`` by being imported.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

from limits.storage.base import Storage


class SqliteStorage(Storage):
    """Fixed windows in the file that the URI names: ``ssc-sqlite:///absolute/path``."""

    STORAGE_SCHEME = ["ssc-sqlite"]  # noqa: RUF012 - the base class declares a list

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self.path = (uri or "").removeprefix("ssc-sqlite://")
        with closing(self._connect()) as connection:
            connection.execute("create table if not exists hit (key text primary key, hits integer, expires_at real)")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=10, isolation_level=None)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return sqlite3.Error

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count ``amount`` more hits of ``key``; the window starts with the first and lasts ``expiry`` seconds."""
        now = time.time()
        with closing(self._connect()) as connection:
            connection.execute("begin immediate")
            connection.execute("delete from hit where expires_at <= ?", (now,))
            connection.execute(
                "insert into hit values (?, ?, ?) on conflict (key) do update set hits = hits + excluded.hits",
                (key, amount, now + expiry),
            )
            (hits,) = connection.execute("select hits from hit where key = ?", (key,)).fetchone()
            connection.execute("commit")
        return int(hits)

    def _row(self, key: str) -> tuple[int, float]:
        with closing(self._connect()) as connection:
            row = connection.execute("select hits, expires_at from hit where key = ?", (key,)).fetchone()
        return (row[0], row[1]) if row and row[1] > time.time() else (0, time.time())

    def get(self, key: str) -> int:
        return self._row(key)[0]

    def get_expiry(self, key: str) -> float:
        return self._row(key)[1]

    def check(self) -> bool:
        with closing(self._connect()) as connection:
            return connection.execute("select 1").fetchone() == (1,)

    def reset(self) -> int | None:
        with closing(self._connect()) as connection:
            return connection.execute("delete from hit").rowcount

    def clear(self, key: str) -> None:
        with closing(self._connect()) as connection:
            connection.execute("delete from hit where key = ?", (key,))
