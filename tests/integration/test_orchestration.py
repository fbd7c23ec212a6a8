"""Real Dagster runs, real dbt, real DuckDB files, over tiny fixtures: what materialises, what fails, who is told.

The product's own dbt project over a whole district is run by the tests of the whole way; here a project of three models stands in.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from orchestration import gate, release, resources, warehouse
from orchestration.build import Build
from orchestration.pull import pull_assets, pull_jobs
from orchestration.run import PROCESS, RunFailed, end_dead_runs, run_job, run_jobs
from sources import spool
from sources.catalogue import Entity, load_catalogue
from sources.errors import PullError, SscError
from sources.landing import Landing, Manifest

pytestmark = pytest.mark.integration
SYSTEMS = load_catalogue()
ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("SSC_DATA", str(folder))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("SSC_ALERT", "SSC_CLOCK"))]:
        monkeypatch.delenv(name)
    return folder


@pytest.fixture
def instance(data: Path, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance on files, as the product's own is."""
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as on_files:
        yield on_files


def materialised(instance: dg.DagsterInstance, run_id: str) -> dict[str, dict]:
    """asset key -> metadata, of one run."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    events = [record.event_log_entry.dagster_event for record in records]
    found = {}
    for event in events:
        assert event is not None and event.asset_key is not None
        values = event.step_materialization_data.materialization.metadata
        found[event.asset_key.to_user_string()] = {name: value.value for name, value in values.items()}
    return found


def last_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    return instance.get_runs(limit=1)[0]


def alert_lines(data: Path) -> list[dict]:
    path = data / "alerts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# ------------------------------------------------------------------------------------------------------------ pulls


@dataclass
class Department:
    """Answers pulls; ``fails`` maps an entity to the error it raises."""

    fails: dict[str, Exception] = field(default_factory=dict)
    asked: list[tuple[str, datetime | None, datetime | None]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def __call__(self, entity: Entity, *, since: datetime | None = None, until: datetime | None = None) -> Manifest:
        self.asked.append((entity.name, since, until))
        self.threads.add(threading.current_thread().name)
        if entity.name in self.fails:
            raise self.fails[entity.name]
        return Manifest(
            load_id="20260930T160000Z-0123456789ab", system=entity.system, entity=entity.name, contract_version="1.0.0",
            window_since=None, window_until="2026-09-30T16:00:00+00:00", cursor_after=None, rows=7, bytes=70, sha256={},
            columns=[], is_demo=True, started_at="", ended_at="", path="/landing",
        )  # fmt: skip

    def definitions(self, system: str) -> dg.Definitions:
        return dg.Definitions(assets=[pull_assets(SYSTEMS[system], self)], jobs=pull_jobs(SYSTEMS[system]), executor=dg.in_process_executor)


def test_pull_materialises_every_entity_with_what_it_brought(instance: dg.DagsterInstance) -> None:
    department = Department()
    run_id = run_job("pull_waterlogging", on=instance, definitions=department.definitions("waterlogging"))
    found = materialised(instance, run_id)
    assert set(found) == {"waterlogging/water_level", "waterlogging/rain_gauge", "waterlogging/waterlogging_point"}
    level = found["waterlogging/water_level"]
    assert (level["dagster/row_count"], level["bytes"], level["load_id"]) == (7, 70, "20260930T160000Z-0123456789ab")
    assert level["window_until"] == "2026-09-30T16:00:00+00:00"
    assert all(thread.startswith("waterlogging") for thread in department.threads), "entities are pulled in threads"


def test_what_fails_stays_red_alone_and_every_cause_is_named(
    instance: dg.DagsterInstance, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    department = Department(
        {
            "water_level": PullError("the file is cut off", where="waterlogging/water_level", next_step="ask for it again"),
            "rain_gauge": ZeroDivisionError("division by zero"),
        }
    )
    with pytest.raises(RunFailed) as caught:
        run_job("pull_waterlogging", on=instance, definitions=department.definitions("waterlogging"))
    text = str(caught.value)
    assert "2 of 3 entities" in text and "the file is cut off" in text and "ZeroDivisionError: division by zero" in text
    assert "python -m orchestration pull waterlogging" in text
    run = last_run(instance)
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert set(materialised(instance, run.run_id)) == {"waterlogging/waterlogging_point"}
    [alert] = alert_lines(data)
    assert alert["where"] == "waterlogging" and alert["job"] == "pull_waterlogging" and alert["run_id"] == run.run_id
    printed = capsys.readouterr().out
    assert "pull_waterlogging: water_level: failed" in printed and "pull_waterlogging: waterlogging_point: 7 rows" in printed


def test_one_system_down_does_not_stop_the_next(instance: dg.DagsterInstance) -> None:
    down = Department({"filing": PullError("no answer", where="tax_filing/filing", next_step="wait")})
    definitions = dg.Definitions.merge(down.definitions("tax_filing"), Department().definitions("waterlogging"))
    with pytest.raises(RunFailed, match=r"tax_filing/filing: no answer\. Next: wait"):
        run_jobs(["pull_tax_filing", "pull_waterlogging"], on=instance, definitions=definitions)
    assert {run.job_name: run.status.value for run in instance.get_runs()} == {
        "pull_tax_filing": "FAILURE",
        "pull_waterlogging": "SUCCESS",
    }


def test_backfill_of_a_day_asks_for_that_day_of_shanghai(instance: dg.DagsterInstance) -> None:
    department = Department()
    definitions = department.definitions("tax_filing")
    run_id = run_job("backfill_tax_filing", partition="2026-10-05", on=instance, definitions=definitions)
    [(_, since, until)] = department.asked
    assert (since, until) == (datetime(2026, 10, 4, 16, tzinfo=UTC), datetime(2026, 10, 5, 16, tzinfo=UTC))
    run = instance.get_run_by_id(run_id)
    assert run is not None and run.tags["dagster/partition"] == "2026-10-05"
    with pytest.raises(SscError, match="has no day '2026-13-01'"):
        run_job("backfill_tax_filing", partition="2026-13-01", on=instance, definitions=definitions)
    with pytest.raises(SscError, match="there is no job 'pull_nothing'"):
        run_job("pull_nothing", on=instance, definitions=definitions)


def test_pull_by_the_real_connector_lands_and_a_backfill_leaves_the_cursor(
    instance: dg.DagsterInstance, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, clock = tmp_path / "files", tmp_path / "clock"
    files.mkdir()
    system = SYSTEMS["tax_filing"]
    header = ",".join(column.source_name for column in system.entities[0].columns)
    row = "91440300MA5EXAMPL1,2026-08,甲,440304001001,A,2026-09-15,1.10,0,0,3,按期申报"
    (files / "纳税申报_202608.csv").write_bytes(f"{header}\r\n{row}\r\n".encode("gb18030"))
    arrival = datetime(2026, 9, 20, tzinfo=UTC).timestamp()
    os.utime(files / "纳税申报_202608.csv", (arrival, arrival))
    clock.write_text("2026-10-01T00:00:00+08:00")
    monkeypatch.setenv("SSC_CLOCK", str(clock))
    monkeypatch.setenv("SSC_TAX_FILING_URL", files.as_uri())
    definitions = dg.Definitions(assets=[pull_assets(system)], jobs=pull_jobs(system), executor=dg.in_process_executor)
    run_id = run_job("pull_tax_filing", on=instance, definitions=definitions)
    assert materialised(instance, run_id)["tax_filing/filing"]["dagster/row_count"] == 1
    cursor = Landing().cursor("tax_filing", "filing")
    run_id = run_job("backfill_tax_filing", partition="2026-09-20", on=instance, definitions=definitions)
    assert materialised(instance, run_id)["tax_filing/filing"]["dagster/row_count"] == 1
    assert len(Landing().load_ids("tax_filing", "filing")) == 2
    assert Landing().cursor("tax_filing", "filing") == cursor


def test_a_killed_run_is_ended_by_the_next_command(instance: dg.DagsterInstance) -> None:
    definitions = Department().definitions("tax_filing")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    job = definitions.resolve_job_def("pull_tax_filing")
    for process in (dead.pid, os.getpid()):
        run = instance.create_run_for_job(job, tags={PROCESS: f"{os.uname().nodename}:{process}"})
        instance.handle_new_event(_started(run))
    assert end_dead_runs(instance) == 1
    statuses = sorted(run.status.value for run in instance.get_runs())
    assert statuses == ["FAILURE", "STARTED"]


def _started(run: dg.DagsterRun) -> dg.EventLogEntry:
    return dg.EventLogEntry(
        error_info=None, level=10, user_message="", run_id=run.run_id, timestamp=0.0, job_name=run.job_name,
        dagster_event=dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_START.value, job_name=run.job_name),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ warehouse


@dataclass(frozen=True)
class Finding:
    suite: str
    passed: bool
    severity: str
    expectation: str = "x"
    where: str = "quality.reconciliation"
    message_zh: str = "有 1 次装载对账不平"
    message_en: str = "1 load does not reconcile"


@dataclass
class Verdict:
    findings: list[Finding]

    @property
    def refused(self) -> bool:
        return any(not finding.passed and finding.severity == "critical" for finding in self.findings)

    def paragraph(self) -> str:
        return "有 1 次装载对账不平。1 load does not reconcile."


PROJECT = {
    "dbt_project.yml": """
        name: tiny
        version: 1.0.0
        profile: tiny
        models:
          tiny:
            marts: {+database: marts, +schema: mart, +materialized: table}
            quality: {+database: marts, +schema: quality, +materialized: table}
            open_data: {+database: open_data, +schema: open_data, +materialized: table}
        """,
    "profiles.yml": """
        tiny:
          target: duckdb
          outputs:
            duckdb:
              type: duckdb
              path: "{{ env_var('SSC_DATA') }}/build/warehouse.duckdb"
              attach:
                - {path: "{{ env_var('SSC_DATA') }}/build/marts.duckdb", alias: marts}
                - {path: "{{ env_var('SSC_DATA') }}/build/open_data.duckdb", alias: open_data}
        """,
    "macros/schema.sql": "{% macro generate_schema_name(name, node) %}{{ name or target.schema }}{% endmacro %}",
    "models/base/base_tax_filing__filing.sql": "{{ config(schema='base') }} select 1 as id",
    "models/marts/fct_filing.sql": "select id, {{ env_var('TINY_COUNT', '1') }} as n from {{ ref('base_tax_filing__filing') }}",
    "models/marts/marts.yml": """
        models:
          - name: fct_filing
            columns:
              - name: n
                data_tests:
                  - accepted_values: {arguments: {values: [1, 2], quote: false}}
                  - accepted_values: {name: n_is_one, arguments: {values: [1], quote: false}, config: {severity: warn}}
        """,
    "models/quality/load_ledger.sql": """
        select 'tax_filing' as system, 'filing' as entity, 'l' as load_id, timestamp '2026-09-30 16:00:00' as window_until,
          true as is_demo, '1.0.0' as contract_version
        """,
    "models/open_data/about.sql": "select '2026-09' as latest_month, count(*) as n from {{ ref('base_tax_filing__filing') }}",
}


@pytest.fixture
def verdicts() -> dict[str, Verdict]:
    passed = Verdict([Finding("reconciliation", True, "critical")])
    return {"batches": passed, "candidate": passed}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dbt project with its manifest in ``target``, parsed once."""
    folder = tmp_path_factory.mktemp("dbt") / "project"
    for name, text in PROJECT.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(resources, "dbt_environment", lambda *_: environment(folder, folder))
        resources.manifest(project=folder, target=folder / "target")
    return folder


def environment(project: Path, data: Path) -> dict[str, str]:
    return {"SSC_DATA": str(data), "DBT_PROFILES_DIR": str(project), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}


@pytest.fixture
def tiny(project: Path, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, verdicts: dict[str, Verdict]) -> dg.Definitions:
    """The warehouse over a dbt project of four models; the gate says what the test lets it say."""
    (data / "build").mkdir()
    shutil.copytree(project / "target", tmp_path / "target")
    for module in (resources, warehouse):
        monkeypatch.setattr(module, "project_dir", lambda: project)
        monkeypatch.setattr(module, "dbt_environment", lambda *_: environment(project, data))
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path / "target"))
    monkeypatch.setattr(warehouse, "prepare", lambda _: Build(1, datetime(2026, 9, 30, 16, tzinfo=UTC), 1, 1, [], True))
    monkeypatch.setattr(gate, "judge_batches", lambda _: verdicts["batches"])
    monkeypatch.setattr(gate, "judge", lambda *_: verdicts["candidate"])
    systems = {name: SYSTEMS[name] for name in ("fire_detection", "tax_filing", "waterlogging")}
    return dg.Definitions.merge(dg.Definitions(executor=dg.in_process_executor), warehouse.warehouse_definitions(systems))


def checks(instance: dg.DagsterInstance, run_id: str) -> dict[str, tuple[bool, str]]:
    """``asset: check`` -> (passed, severity), of one run."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    events = [record.event_log_entry.dagster_event.asset_check_evaluation_data for record in records]  # type: ignore[union-attr]
    return {f"{e.asset_key.to_user_string()}: {e.check_name}": (e.passed, e.severity.value) for e in events}


def test_the_graph_reads_from_left_to_right(tiny: dg.Definitions) -> None:
    graph = tiny.resolve_asset_graph()
    chain = [["tax_filing", "filing"], ["base", "base_tax_filing__filing"], ["open_data", "about"], ["gate"], ["release"], ["superset"]]
    for before, after in itertools.pairwise(chain):
        assert dg.AssetKey(before) in graph.get(dg.AssetKey(after)).parent_keys, f"{before} -> {after}"


def test_warehouse_run_ends_in_a_release(tiny: dg.Definitions, instance: dg.DagsterInstance, data: Path) -> None:
    cache = data / "superset" / "cache" / "data"
    cache.mkdir(parents=True)
    (cache / "old").write_text("figure")
    run_id = run_job("warehouse", on=instance, definitions=tiny)
    found = materialised(instance, run_id)
    assert {"base/base_tax_filing__filing", "mart/fct_filing", "open_data/about", "gate", "release", "superset"} <= set(found)
    current = release.read_link(data, "current")
    assert found["release"]["release_id"] == current and found["release"]["is_new"]
    assert cache.exists() and not list(cache.iterdir())
    said = checks(instance, run_id)
    assert said["gate: reconciliation"] == (True, "WARN") and said["release: privacy"] == (True, "WARN")
    assert [passed for name, (passed, _) in said.items() if name.startswith("mart/fct_filing: ")] == [True, True]
    again = run_job("warehouse", on=instance, definitions=tiny)
    assert materialised(instance, again)["release"] | {"seconds": 0} == found["release"] | {"is_new": False, "seconds": 0}


def test_a_warehouse_run_takes_what_the_collector_received(
    tiny: dg.Definitions, instance: dg.DagsterInstance, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it builds; what cannot be taken holds up neither the other messages nor the build."""
    folders = [spool.folder(*names) for names in (("waterlogging", "live", "water_level"), ("fire_detection", "live", "smoke_reading"))]
    for folder in folders:
        segments = spool.Segments(folder)
        segments.append([b'{"refDevice":"1"}\n', b'{"refDevice":"2"}\n'])
        segments.close()
    [damaged] = spool.closed(folders[1])
    damaged.write_bytes(b"half a ro")
    found = materialised(instance, run_job("warehouse", on=instance, definitions=tiny))
    assert found["waterlogging/water_level"]["dagster/row_count"] == 2 and "release" in found
    assert not spool.closed(folders[0]) and damaged.exists()
    said = capsys.readouterr().out
    assert "messages: fire_detection/smoke_reading" in said and "a closed segment is damaged" in said
    [load_id] = Landing(data / "landing").load_ids("waterlogging", "water_level")
    assert found["waterlogging/water_level"]["load_id"] == load_id


def test_failed_dbt_test_refuses_the_release_though_nothing_depends_on_it(
    tiny: dg.Definitions, instance: dg.DagsterInstance, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_job("warehouse", on=instance, definitions=tiny)
    good = release.read_link(data, "current")
    monkeypatch.setenv("TINY_COUNT", "2")
    run_job("warehouse", on=instance, definitions=tiny)
    warned = release.read_link(data, "current")
    assert warned != good, "a test of severity warn does not hold a release back"
    monkeypatch.setenv("TINY_COUNT", "3")
    with pytest.raises(RunFailed, match=r"1 failed: test accepted_values_fct_filing_n__False__1__2 \(fail"):
        run_job("warehouse", on=instance, definitions=tiny)
    assert release.read_link(data, "current") == warned
    [reason] = (data / "published" / "refused").iterdir()
    assert f"{warned} goes on serving" in reason.read_text()
    [alert] = alert_lines(data)
    assert "was refused" in alert["what"] and "python -m orchestration warehouse" in alert["next_step"]
    said = checks(instance, last_run(instance).run_id)
    assert (False, "ERROR") in said.values()


@pytest.mark.parametrize("phase", ["batches", "candidate"])
def test_critical_finding_refuses_and_is_a_red_check(
    tiny: dg.Definitions, instance: dg.DagsterInstance, data: Path, verdicts: dict[str, Verdict], phase: str
) -> None:
    verdicts[phase] = Verdict([Finding("reconciliation", False, "critical"), Finding("disclosure", True, "critical")])
    with pytest.raises(RunFailed, match="1 load does not reconcile"):
        run_job("warehouse", on=instance, definitions=tiny)
    assert release.read_link(data, "current") is None and not release.list_releases(data)
    asset = "gate" if phase == "batches" else "release"
    assert checks(instance, last_run(instance).run_id)[f"{asset}: reconciliation"] == (False, "ERROR")


def test_build_that_dbt_did_not_finish_is_not_released(
    tiny: dg.Definitions, instance: dg.DagsterInstance, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_job("warehouse", on=instance, definitions=tiny)
    monkeypatch.setenv("TINY_COUNT", "{{ nothing.at.all }}")
    with pytest.raises(RunFailed):
        run_job("warehouse", on=instance, definitions=tiny)
    with pytest.raises(SscError, match=r"did not finish|refused"):
        release.make_candidate(data, judge=lambda *_: Verdict([]))


def test_models_that_changed_are_forgotten_with_their_ledger(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    with duckdb.connect(str(tmp_path / "build" / "warehouse.duckdb")) as connection:
        connection.execute("create schema base; create schema ledger")
        for table in ("base.base_a__b", "base.base_a__c", "ledger.a__b__loads", "ledger.a__b__counts", "ledger.a__c__loads"):
            connection.execute(f"create table {table} (x int)")
    nodes = {
        name: {"name": name, "resource_type": "model", "database": "warehouse", "schema": "base", "alias": name}
        for name in ("base_a__b", "base_a__c")
    }
    for _ in range(2):  # killed after the first time, it is repeated
        warehouse.forget(tmp_path, {"nodes": nodes}, ["base_a__b"])
    with duckdb.connect(str(tmp_path / "build" / "warehouse.duckdb")) as connection:
        left = connection.execute("select table_name from information_schema.tables order by 1").fetchall()
    assert left == [("a__c__loads",), ("base_a__c",)]


# ------------------------------------------------------------------------------------------------------------ commands


def command(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    environment |= {"SSC_DATA": str(data), "DAGSTER_HOME": str(data.parent)}
    return subprocess.run(
        [sys.executable, "-m", "orchestration", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_command_says_in_one_paragraph_what_is_wrong(instance: dg.DagsterInstance, data: Path) -> None:
    done = command("pull", "tax_filing", data=data)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith("Next: set SSC_TAX_FILING_URL in the environment and pull again")
    assert "Traceback" not in done.stdout + done.stderr
    done = command("pull", "nowhere", data=data)
    assert done.returncode == 1 and "there is no system nowhere" in done.stderr
    done = command("release", "approve", "x", "--by", "王", data=data)
    assert done.returncode == 1 and "there is no such release" in done.stderr
