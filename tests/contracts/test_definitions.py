"""What Dagster shows agrees with the catalogue, the dbt project and the gate's suites; and it loads quickly."""

import os
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import dagster as dg
import pytest
import yaml

from expectations.suites_reader import read_suites
from orchestration import resources
from orchestration.definitions import defs, systems
from orchestration.warehouse import POOL

ROOT = Path(__file__).parents[2]
ORDER = ["pull", "base", "staging", "intermediate", "marts", "quality", "open_data", "gate", "release", "superset"]


def groups() -> dict[dg.AssetKey, str]:
    return {spec.key: spec.group_name or "" for spec in defs.resolve_all_asset_specs()}


def test_definitions_are_valid() -> None:
    dg.Definitions.validate_loadable(defs)


def test_definitions_load_in_under_ten_seconds() -> None:
    """Processor time of a fresh process with a manifest that is there; wall time on a busy machine says little."""
    resources.manifest()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "import orchestration.definitions as d; d.defs.get_repository_def()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ), check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 10


def test_a_run_asks_nobody_for_dbts_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """``dbt --version`` asks the package index what is new; a run must do without the internet."""

    def ask(*_: object, **__: object) -> bytes:
        raise AssertionError("dbt was asked for its version")

    monkeypatch.setattr("dagster_dbt.core.resource.check_output", ask)
    assert str(defs.resources["dbt"]._cli_version) == metadata.version("dbt-core")


def test_loading_leaves_great_expectations_and_httpx_alone() -> None:
    code = "import sys, orchestration.definitions; print([name for name in ('great_expectations', 'httpx') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_every_system_has_assets_jobs_and_a_schedule() -> None:
    jobs = {job.name for job in defs.resolve_all_job_defs()}
    schedules = {schedule.job_name for schedule in defs.schedules or []}  # type: ignore[union-attr]
    keys = {key for key, group in groups().items() if group == "pull"}
    assert keys == {dg.AssetKey([system.id, entity.name]) for system in systems.values() for entity in system.entities}
    for system in systems:
        assert {f"pull_{system}", f"backfill_{system}"} <= jobs
        assert f"pull_{system}" in schedules
    assert "warehouse" in jobs


def test_every_base_model_follows_its_pull() -> None:
    graph = defs.resolve_asset_graph()
    for system in systems.values():
        for entity in system.entities:
            base = graph.get(dg.AssetKey(["base", f"base_{entity.key}"]))
            assert dg.AssetKey([system.id, entity.name]) in base.parent_keys


def test_graph_reads_from_left_to_right() -> None:
    """No layer reads from one to its right. Marts, intermediate and quality models read each other; seeds may be read everywhere."""
    graph, group = defs.resolve_asset_graph(), groups()
    wrong = [
        f"{group[parent]}/{parent.to_user_string()} -> {group[key]}/{key.to_user_string()}"
        for key in group
        for parent in graph.get(key).parent_keys
        if group.get(parent) in ORDER
        and group[key] in ORDER
        and not {group[parent], group[key]} <= {"marts", "intermediate", "quality"}
        and ORDER.index(group[parent]) > ORDER.index(group[key])
    ]
    assert not wrong
    assert set(group.values()) <= {*ORDER, "seeds"}


def test_release_comes_after_everything_that_is_served() -> None:
    graph, group = defs.resolve_asset_graph(), groups()
    before_gate = graph.get(dg.AssetKey("gate")).parent_keys
    assert {key for key, name in group.items() if name in ("marts", "open_data", "quality")} <= set(before_gate)
    assert graph.get(dg.AssetKey("release")).parent_keys == {dg.AssetKey("gate")}
    assert graph.get(dg.AssetKey("superset")).parent_keys == {dg.AssetKey("release")}


@pytest.mark.parametrize(("asset", "phase"), [("gate", "batches"), ("release", "candidate")])
def test_every_suite_is_an_asset_check(asset: str, phase: str) -> None:
    keys = {check.name for check in defs.resolve_asset_graph().asset_check_keys if check.asset_key == dg.AssetKey(asset)}
    assert keys == {suite.name for suite in read_suites() if phase in suite.phases}


def test_whoever_touches_the_build_is_in_the_pool() -> None:
    graph = defs.resolve_asset_graph()
    for key, group in groups().items():
        if group not in ("pull", "superset"):
            assert graph.get(key).pools == {POOL}, key


def test_manifest_is_parsed_only_when_the_project_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, target = tmp_path / "project", tmp_path / "target"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: x")
    model = project / "models" / "a.sql"
    model.write_text("select 1")
    parses = []

    def parse(_: Path, into: Path) -> None:
        parses.append(1)
        (into / "manifest.json").write_text("{}")

    monkeypatch.setattr(resources, "_parse", parse)
    for number, change in enumerate(
        [
            lambda: None,
            lambda: os.utime(model, (9e9, 9e9)),
            lambda: os.utime(model, (1, 1)),
            lambda: (target / "manifest.json").write_text("{"),
        ]
    ):
        change()
        resources.manifest(project=project, target=target)
        expected = [1, 2, 2, 3][number]
        assert len(parses) == expected
        resources.manifest(project=project, target=target) if number != 1 else None
        assert len(parses) == expected


def test_instance_is_as_the_product_wants_it(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.telemetry_enabled is False
        assert instance.run_monitoring_enabled
        pools = instance.get_concurrency_config().pool_config
        assert (pools.default_pool_limit, pools.pool_granularity.value) == (1, "run")
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert settings["retention"]["sensor"]["purge_after_days"]["skipped"] <= 7
