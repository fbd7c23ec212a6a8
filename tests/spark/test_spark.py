"""The same dbt models on a real Spark cluster: every mart equals DuckDB's, row for row, after a full build, an increment, and kills.

One reference district at test scale is pulled up to three moments. At each, DuckDB and Spark build from the same landing; the tests
go on from one another's state, and one that is run alone first does what those before it do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestration.spark import Connection
from sources.settings import root
from tests.spark.cluster import Cluster, cluster
from tests.spark.compare import differences
from tests.support import build, query
from tests.whole_way import District, district, environment

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1800)]  # minutes on a busy machine
MOMENTS = ("2026-09-15T00:00+08:00", "2026-10-15T00:00+08:00", "2026-11-01T00:00+08:00")
SCHEMAS = {"mart", "governance", "quality", "open_data", "shareback"}
PULL = """
from sources.catalogue import load_catalogue
from sources.connectors import pull
for system in load_catalogue().values():
    for entity in system.entities:
        pull(entity)
"""
WITHOUT_TESTS = ("--exclude-resource-type", "test")


class Installation:
    """A data folder whose landing both engines build from."""

    def __init__(self, folder: Path, of: District, on: Cluster) -> None:
        self.folder, self.district, self.cluster = folder, of, on
        self.data = folder / "data"
        self.reached = -1

    @property
    def environment(self) -> dict[str, str]:
        paths = {"SSC_DATA": self.data, "DBT_TARGET_PATH": self.data / "target"}
        return environment(**paths, **self.district.settings, **self.cluster.settings)

    def land(self, moment: int) -> None:
        """Bring landing and DuckDB's build to a moment."""
        self.district.move(MOMENTS[moment])
        done = subprocess.run([sys.executable, "-c", PULL], cwd=root(), env=self.environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        build(self.data)
        self.reached = moment

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """``make warehouse-spark`` in a process group of its own; what it prints is appended to ``output.txt``."""
        with (self.folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "orchestration.spark", *arguments],
                cwd=root(),
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def build(self, *arguments: str) -> None:
        code = self.start(*arguments).wait(timeout=800)
        assert code == 0, self.output()

    def output(self) -> str:
        """The end of what builds printed, without Java's stack traces."""
        lines = (self.folder / "output.txt").read_text(errors="replace").splitlines()
        return "\n".join([line[:400] for line in lines if not line.lstrip().startswith(("at ", "... ", "Caused by"))][-80:])

    def up_to(self, moment: int) -> None:
        """Both engines at a moment, without tests and comparison, where they are not yet."""
        for step in range(self.reached + 1, moment + 1):
            self.land(step)
            self.build(*WITHOUT_TESTS)

    def _models(self) -> list[dict[str, Any]]:
        nodes = json.loads((self.data / "target" / "manifest.json").read_text())["nodes"].values()
        return [node for node in nodes if node["resource_type"] == "model" and node["config"]["materialized"] in ("table", "incremental")]

    def tables(self) -> list[tuple[str, Path]]:
        """Every table that the project builds in the schemas that are served, and DuckDB's file that holds it."""
        return sorted(
            (f"{node['schema']}.{node['alias']}", self.data / "build" / f"{node['database']}.duckdb")
            for node in self._models()
            if node["schema"] in SCHEMAS
        )

    def base_tables(self) -> list[str]:
        return sorted(f"{node['schema']}.{node['alias']}" for node in self._models() if node["schema"] == "base")

    def connection(self) -> Connection:
        return Connection(self.cluster.settings)

    def compare(self) -> dict[str, int]:
        """Rows of every table; fails where one differs between the engines."""

        def one(table: tuple[str, Path]) -> tuple[int, list[str]]:
            with self.connection() as spark:
                return differences(spark, *table)

        tables = self.tables()
        with ThreadPoolExecutor(3) as pool:
            results = list(pool.map(one, tables))
        found = [line for _, lines in results for line in lines]
        assert not found, "\n".join(found)
        return {name: rows for (name, _), (rows, _) in zip(tables, results, strict=True)}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("spark")
    with cluster(folder / "cluster") as running, district(folder / "district") as served:
        result = Installation(folder, served, running)
        result.land(0)  # while the cluster comes up
        running.wait()
        yield result


def progress(installation: Installation) -> int:
    """How many models and seeds were finished in all builds so far."""
    path = installation.folder / "output.txt"
    return path.read_text(errors="replace").count("[OK in") if path.exists() else 0


def wait_for(installation: Installation, process: subprocess.Popen[bytes], finished: int) -> None:
    deadline = time.monotonic() + 300
    while progress(installation) < finished:
        assert process.poll() is None, f"the build ended before it could be disturbed\n{installation.output()}"
        assert time.monotonic() < deadline, installation.output()
        time.sleep(0.1)


def test_full_build_with_its_tests_equals_duckdb(installation: Installation) -> None:
    """Every model, every dbt test of keys, relations and counts, then every table row for row."""
    installation.build()
    counted = installation.compare()
    assert len(counted) >= 22 and sum(counted.values()) > 20_000, counted
    empty = {name for name, rows in counted.items() if not rows}
    assert not {name for name in empty if name.startswith(("mart.fct_", "open_data."))}, empty


def test_nothing_new_is_seen_without_a_build(installation: Installation) -> None:
    installation.up_to(0)
    started = time.monotonic()
    installation.build()
    assert "nothing new since build" in installation.output()
    assert time.monotonic() - started < 60


def test_increment_with_late_and_changed_rows_equals_duckdb(installation: Installation) -> None:
    """And it writes the days that DuckDB's increment writes, no others."""
    installation.up_to(0)
    installation.land(1)
    base, day = "base.base_grid_management__grid_event", "date '2026-09-15'"
    changed = f"""select count(*) from {base} as new inner join {base} as old on new.event_id = old.event_id and old._load_id < new._load_id
        where old._is_superseded and new._day < {day}"""
    assert query(installation.data, changed)[0][0] > 0, "no row of a day that was built before was changed"
    late = f"select count(*) from base.base_waterlogging__water_level where _build_id > 1 and _day < {day} and not _is_superseded"
    assert query(installation.data, late)[0][0] > 0, "no reading came late"
    installation.build(*WITHOUT_TESTS)
    installation.compare()
    with installation.connection() as spark:
        for table in (base, "base.base_waterlogging__water_level", "base.base_tax_filing__filing"):
            written = f"select cast(_day as varchar(10)), count(*) from {table} where _build_id > 1 group by _day order by 1"
            assert spark.rows(written) == query(installation.data, written), table


def test_killed_builds_are_made_good_by_the_next(installation: Installation) -> None:
    """Spark's driver dies while base tables are being added to; then, in the next build, a worker does: nothing lost, nothing twice.

    Before that, the state is made in which a build is left that dies while its partitions change places: one of them is gone.
    """
    installation.up_to(1)
    installation.land(2)
    table = "base.base_waterlogging__water_level"
    with installation.connection() as spark:
        ((day,),) = spark.rows("select cast(min(_day) as string) from internal.base__base_waterlogging__water_level__next")
        spark.rows(f"alter table {table} drop partition (_day = date '{day}')")
        spark.rows(f"alter table {table} set tblproperties ('ssc.next' = 'whole')")
    process = installation.start(*WITHOUT_TESTS)
    wait_for(installation, process, progress(installation) + 3)
    installation.cluster.kill("thrift")
    assert process.wait(timeout=300) != 0, "a build without Spark's driver must fail"
    installation.cluster.start_thrift()
    installation.cluster.wait()

    process = installation.start(*WITHOUT_TESTS)
    wait_for(installation, process, progress(installation) + 5)
    installation.cluster.kill("worker2")
    if process.wait(timeout=800) != 0:
        installation.build(*WITHOUT_TESTS)
    installation.compare()
    with installation.connection() as spark:
        for table in installation.base_tables():
            counted = f"""select cast(_day as varchar(10)), count(*), count(case when _is_superseded then 1 end), count(_broken_rules)
                from {table} group by _day order by 1"""
            assert spark.rows(counted) == query(installation.data, counted), table


TEXTS = (
    """
2026-10-05|2026-10-5|2026-1-05|2026-1-5|2026-10|2026|20261005|2026/10/05|2026/1/5|2026-10/05|2026/10-05|2026 10 05|05.10.2026|2026-02-30
2026-13-05|26-10-05|2026-10-05abc|2026-10-05T|2026-10-05 |2026-10-055|2026-00-10|02026-10-05|2026.10.05|2026年10月5日|+2026-10-05
2026-10-05 23:30:00|2026-10-05T23:30:00|2026-10-05T23:30|2026-10-05T23|2026-10-05 23:30:00.25|2026-10-05 9:05:07|2026-10-05 9:5:7
2026/10/05 23:30:00|2026/10/5 9:05|2026-10-05  23:30:00|2026-10-05T24:00:00|2026-10-05 24:00|2026-10-05T24:00:01|2026-10-05T23:60:00
2026-10-05T23:30:60|2026-10-05 23:30:00 UTC|2026-10-05 23:30:00.1234567|2026-10-05 23:30:00.|2026-10-05 11:30:00 PM|2026-10-05t23:30:00
2026-10-05T23:30:00Z|2026-10-05T23:30:00+08:00|2026-10-05T23:30+08:00|2026-10-05T23:30:00.125+08:00|2026-10-05T23:30:00+0800
2026-10-05T23:30:00+08|2026-10-05T23:30:00-05:00|2026-10-05T23:30:00+05:30|2026-10-05T25:00:00+08:00|2026-10-05T24:00:00+08:00
2026/10/05T23:30:00Z|2026/10/05 23:30:00+08:00|2026-10-05T23:30:00 +08:00|2026-10-05T23:30:00z|2026-10-05Z|2026-10-05+08:00
T23:30:00|23:30|now|today|epoch|infinity|yesterday|1759678200|0|1|-1|+1|1.10|.5|5.|1e3|1E-3|1e400|NaN|inf|1,000|0x10|1d|12f|007|1_000
9223372036854775807|9223372036854775808|true|TRUE|yes|是|否|n|t|| |text
""".strip()
    .replace("\n", "|")
    .split("|")
)


def show(installation: Installation, target: str, select: str) -> list[dict[str, Any]]:
    """What one engine answers to a query with macros of the project."""
    command = [str(Path(sys.executable).with_name("dbt")), "--quiet", "show", "--inline", select, "--output", "json", "--limit", "1000"]
    command += ["--project-dir", str(root() / "dbt_project"), "--profiles-dir", str(root() / "dbt_project"), "--target", target]
    command += ["--target-path", str(installation.data / ("target" if target == "duckdb" else "target-spark"))]
    command += ["--log-path", str(installation.folder / "logs")]
    done = subprocess.run(command, env=installation.environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout)["show"]


def test_both_engines_read_odd_texts_alike(installation: Installation) -> None:
    """Dates, times and numbers as departments mistype them: what one engine takes for a value and the other does not would part them."""
    rows = ", ".join("('" + text.replace("'", "''") + "')" for text in TEXTS)
    casts = ", ".join(
        f"cast({{{{ {macro}('t') }}}} as {{{{ text_type() }}}}) as {macro}" for macro in ("as_date", "as_timestamp", "as_boolean")
    )
    numbers = "{{ as_number('t') }} as as_number, {{ as_integer('t') }} as as_integer"
    select = f"select t, {casts}, {numbers} from (values {rows}) as odd (t)"
    duckdb, spark = ({row["t"]: row for row in show(installation, target, select)} for target in ("duckdb", "spark"))
    assert len(duckdb) == len(TEXTS)
    assert duckdb["2026-10-05T23:30:00+08:00"]["as_timestamp"] == "2026-10-05 15:30:00"
    parted = [f"{text!r}: {duckdb[text]} in DuckDB, {spark[text]} on Spark" for text in TEXTS if duckdb[text] != spark[text]]
    assert not parted, "\n".join(parted)


def test_both_engines_round_and_write_numbers_alike(installation: Installation) -> None:
    """Ties above all: 0.285 as a double lies just below, and the last bits of a sum depend on its order."""
    texts = {"0.285": "0.29", "-0.285": "-0.29", "2.675": "2.68", "0.1+0.185": "0.29", "1.005": "1.01", "60": "60", "0.45": "0.45"}
    texts |= {"12.50": "12.5", "0.004": "0", "-7.1": "-7.1", "99.995": "100", "1e9": "1000000000"}
    doubles = ", ".join("(" + "+".join(f"cast('{part}' as double)" for part in text.split("+")) + f", '{text}')" for text in texts)
    select = (
        f"select t, {{{{ number_text('v') }}}} as written, {{{{ rounded('v', 1) }}}} as tenths from (values {doubles}) as numbers (v, t)"
    )
    duckdb, spark = ({row["t"]: row for row in show(installation, target, select)} for target in ("duckdb", "spark"))
    assert {text: row["written"] for text, row in duckdb.items()} == texts
    assert spark == duckdb


def test_comparison_finds_a_difference(installation: Installation) -> None:
    """What the others rest on: one changed value, one row too many, and a type are each found."""
    installation.up_to(0)
    table, file = next((name, file) for name, file in installation.tables() if name == "mart.dim_community")
    with installation.connection() as spark:
        columns = [row[0] for row in spark.rows(f"describe {table}")]
        spark.rows("create schema if not exists internal")
        for change, words in (
            ({"population_count": "population_count + case when community_id = '440304001019' then 1 else 0 end"}, "1 rows only on Spark"),
            ({"tile_x": "cast(tile_x as int)"}, "tile_x is BIGINT in DuckDB and INTEGER on Spark"),
        ):
            chosen = ", ".join(f"{change.get(column, column)} as {column}" for column in columns)
            spark.rows(f"create or replace view internal.changed as select {chosen} from {table}")
            _, found = differences(spark, "internal.changed", file, duckdb_table=table)
            assert any(words in line for line in found), found
        spark.rows(f"create or replace view internal.changed as select * from {table} union all (select * from {table} limit 1)")
        _, found = differences(spark, "internal.changed", file, duckdb_table=table)
        assert len(found) == 1 and "1 rows only on Spark" in found[0], found
