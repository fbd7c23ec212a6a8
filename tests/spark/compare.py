"""Whether a table on Spark and the same table in DuckDB's build hold the same: columns, types, and rows as multisets.

Spark writes out what its SQL answers, so that a partition that its metastore forgot or kept would show; DuckDB reads both and compares.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb

from orchestration.spark import Connection

TOLERANCE = 1e-9  # of floats: absolute below 1, relative above
TYPES = {"string": "VARCHAR", "timestamp_ntz": "TIMESTAMP", "int": "INTEGER"}


def differences(spark: Connection, table: str, duckdb_file: Path, duckdb_table: str | None = None) -> tuple[int, list[str]]:
    """Rows in DuckDB's table (the same name), and what differs on Spark, in words; nothing where the two are equal."""
    build = f"build.{duckdb_table or table}"
    with tempfile.TemporaryDirectory(dir=duckdb_file.parent) as folder, duckdb.connect() as connection:
        exported = Path(folder) / "rows"
        spark.rows(f"insert overwrite directory '{exported}' using parquet select * from {table}")
        connection.execute(f"attach '{duckdb_file}' as build (read_only)")
        described = connection.execute(f"describe {build}").fetchall()
        mine = {name: kind for name, kind, *_ in described}
        theirs = {row[0]: _type(row[1]) for row in spark.rows(f"describe query select * from {table}")}
        unlike = sorted(name for name in mine | theirs if mine.get(name) != theirs.get(name))
        if unlike:
            return 0, [f"{table}: {name} is {mine.get(name)} in DuckDB and {theirs.get(name)} on Spark" for name in unlike]
        floats = [name for name, kind in mine.items() if kind in ("DOUBLE", "FLOAT")]
        exact = [name for name in mine if name not in floats]
        # Rows alike in all exact columns are matched in the order of their floats.
        columns = ", ".join(f'"{name}"' for name in mine)
        group = ", ".join(f'"{name}"' for name in exact) or "1"
        order = ", ".join(f'"{name}" nulls last' for name in floats) or "1"
        numbered = f"select {columns}, row_number() over (partition by {group} order by {order}) as nth from"
        connection.execute(f"create temp table mine as {numbered} {build}")
        connection.execute(f"create temp table theirs as {numbered} read_parquet('{exported}/*.parquet')")
        on = " and ".join(f'mine."{name}" is not distinct from theirs."{name}"' for name in [*exact, "nth"])
        pairs = [(f'mine."{name}"', f'theirs."{name}"') for name in floats]
        close = " and ".join(
            f"({one} is not distinct from {other} or abs({one} - {other}) <= {TOLERANCE} * greatest(1, abs({one})))" for one, other in pairs
        )
        found = []
        for label, one, other in (("only in DuckDB", "mine", "theirs"), ("only on Spark", "theirs", "mine")):
            missing = f"from {one} where not exists (select 1 from {other} where {on} and coalesce({close or 'true'}, false))"
            (count,) = connection.execute(f"select count(*) {missing}").fetchone() or (0,)
            if count:
                sample = connection.execute(f"select * {missing} order by all limit 2").fetchall()
                found.append(f"{table}: {count} rows {label}, such as {sample}")
        (rows,) = connection.execute("select count(*) from mine").fetchone() or (0,)
        return rows, found


def _type(name: str) -> str:
    return TYPES.get(name, name.upper())
