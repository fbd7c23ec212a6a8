"""The warehouse run: dbt over whatever has landed and what the collector has received, the gate, the release, and Superset's cache, as
assets from left to right.

pull -> base -> staging -> intermediate -> marts -> open_data -> gate -> release -> superset. What a build takes belongs in
``build.py``, what a release is in ``release.py``, models and tests in ``dbt_project/``.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, dbt_assets
from packaging.version import Version

from orchestration import gate, release, superset
from orchestration.build import DATABASES, build_lock, dbt_environment, mark_judged, mark_released, prepare
from orchestration.pull import asset_key, take_messages
from orchestration.resources import dbt_executable, failure, is_command, manifest, project_dir, say, target_path
from sources.catalogue import System
from sources.errors import BuildError, ReleaseRefused, SscError
from sources.settings import data_dir

JOB = "warehouse"
POOL = "duckdb"
GATE, RELEASE, SUPERSET = dg.AssetKey("gate"), dg.AssetKey("release"), dg.AssetKey("superset")
SAY_EVERY_SECONDS = 10.0
LAYERS = {
    "base": "base",
    "staging": "staging",
    "quarantine": "staging",
    "mart": "marts",
    "governance": "marts",
    "shareback": "marts",
}


class Dbt(DbtCliResource):
    """The dbt resource without what takes seconds of every run: it knows dbt's version from this environment (its own way,
    ``dbt --version``, asks the internet for news), and loads no adapter in this process, which only metadata that we do not fetch needs.
    """

    @cached_property
    def _cli_version(self) -> Version:
        return Version(metadata.version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:
        return None


class Layers(DagsterDbtTranslator):
    """Sources are the pull assets; groups are the layers; a base model follows the entity whose loads it takes."""

    def __init__(self, systems: Mapping[str, System]) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_asset_checks=True, enable_source_tests_as_checks=False))
        self.entities = {entity.key: entity for system in systems.values() for entity in system.entities}

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        if dbt_resource_props["resource_type"] == "source":
            return asset_key(dbt_resource_props["source_name"], dbt_resource_props["name"])
        return super().get_asset_key(dbt_resource_props)

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        if dbt_resource_props["resource_type"] == "seed":
            return "seeds"
        schema = dbt_resource_props.get("schema") or ""
        fqn = dbt_resource_props.get("fqn") or ["", "warehouse"]
        return LAYERS.get(schema) or (fqn[1] if len(fqn) > 2 else "warehouse")

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: Any) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        name = manifest["nodes"].get(unique_id, {}).get("name", "")
        entity = self.entities.get(name.removeprefix("base_")) if name.startswith("base_") else None
        if entity:
            key = asset_key(entity.system, entity.name)
            if key not in {dep.asset_key for dep in spec.deps}:
                spec = spec.merge_attributes(deps=[key])
        return spec


def warehouse_definitions(systems: Mapping[str, System]) -> dg.Definitions:
    """The assets of the warehouse, their checks, the job ``warehouse`` and the dbt resource."""
    parsed = manifest()
    built = _dbt_build(parsed, systems)
    served = [spec.key for spec in built.specs if spec.group_name in ("marts", "open_data", "quality")]
    return dg.Definitions(
        assets=[built, _gate(served), _release(), _superset()],
        jobs=[
            dg.define_asset_job(
                JOB,
                selection=dg.AssetSelection.assets(*built.keys, GATE, RELEASE, SUPERSET),
                description="dbt over whatever has landed, the gate, a release, and Superset's cache",
            )
        ],
        resources={
            "dbt": Dbt(project_dir=os.fspath(project_dir()), profiles_dir=os.fspath(project_dir()), dbt_executable=dbt_executable())
        },
    )


def _dbt_build(parsed: Mapping[str, Any], systems: Mapping[str, System]) -> dg.AssetsDefinition:
    @dbt_assets(manifest=parsed, dagster_dbt_translator=Layers(systems), name="dbt_build", pool=POOL)
    def dbt_build(context: dg.AssetExecutionContext, dbt: Dbt) -> Iterator[Any]:
        data = data_dir()
        os.environ.update(dbt_environment(data))
        try:
            with build_lock(data):
                take_messages(context, systems)
                yield from _build(context, dbt, data, parsed)
        except SscError as error:
            raise failure(error) from error

    return dbt_build


def _build(context: dg.AssetExecutionContext, dbt: Dbt, data: Path, parsed: Mapping[str, Any]) -> Iterator[Any]:
    taken_over, written = data / "build" / "run_results.json", target_path() / "run_results.json"
    build = prepare(data)
    if context.is_subset:  # whoever chose what to build wants just that
        build = replace(build, unchanged=[])
    taken_over.unlink(missing_ok=True)  # from here to the end of dbt there is no finished build to release
    written.unlink(missing_ok=True)
    again = f"; built anew: {', '.join(build.rebuild)}" if build.rebuild else ""
    say(context, f"build {build.build_id}: {build.new_loads} new loads with {build.new_rows:,} rows, up to {build.as_of}{again}")
    forget(data, parsed, build.rebuild)
    gate.make_ready()
    invocation = dbt.cli(build.dbt_arguments, context=context, target_path=target_path(), raise_on_error=False)
    done, said, started = 0, time.monotonic(), time.monotonic()
    for event in _quietly(iter(invocation.stream())) if is_command(context) else invocation.stream():
        done += 1
        if time.monotonic() - said > SAY_EVERY_SECONDS:
            said = time.monotonic()
            say(context, f"dbt: {done} models and tests after {said - started:.0f} s")
        yield event
    invocation.wait()
    if not written.exists():
        error = invocation.get_error()
        raise BuildError(
            f"dbt ended without results: {str(error).strip()[-1500:] if error else 'no message'}",
            where=f"build {build.build_id}",
            next_step=f"read {target_path()}/dbt.log, then run `python -m orchestration warehouse` again",
        )
    say(context, f"dbt: {done} models and tests in {time.monotonic() - started:.0f} s")
    failures = release.dbt_failures(written)
    if context.is_subset:  # a part of the warehouse says nothing about the rest, so it cannot be released
        if failures:
            raise BuildError("; ".join(failures[:8]), where=f"build {build.build_id}", next_step="mend the models named here")
        return
    partial = taken_over.with_suffix(".tmp")
    shutil.copyfile(written, partial)
    os.replace(partial, taken_over)
    if failures:
        raise release.refuse_failed_build(data, failures)


def _quietly(events: Iterator[Any]) -> Iterator[Any]:
    """Without dbt's own lines on the terminal; they are in dbt.log."""
    with open(os.devnull, "w") as nowhere:
        while True:
            with contextlib.redirect_stdout(nowhere):
                event = next(events, None)
            if event is None:
                return
            yield event


def forget(data: Path, parsed: Mapping[str, Any], models: list[str]) -> None:
    """Drop the tables of incremental models that must be built anew, a base model's ledger with them: landing holds everything.

    Killed in between, it is repeated: the build log, which says what a model was built with, stays until the model is built.
    """
    nodes = {node["name"]: node for node in parsed["nodes"].values() if node["resource_type"] == "model"}
    for database in DATABASES:
        path = data / "build" / f"{database}.duckdb"
        mine = [nodes[name] for name in models if name in nodes and nodes[name]["database"] == database]
        if not mine or not path.exists():
            continue
        with duckdb.connect() as connection:
            connection.execute(f"attach '{str(path).replace(chr(39), chr(39) * 2)}' as file")
            for node in mine:
                connection.execute(f'drop table if exists file."{node["schema"]}"."{node["alias"]}"')
                if node["name"].startswith("base_"):
                    for table in ("loads", "counts"):
                        connection.execute(f'drop table if exists file.ledger."{node["name"].removeprefix("base_")}__{table}"')


def _gate(served: list[dg.AssetKey]) -> dg.AssetsDefinition:
    checks = gate.check_specs(GATE, "batches")

    @dg.asset(
        key=GATE,
        deps=served,
        group_name="gate",
        pool=POOL,
        kinds={"greatexpectations"},
        check_specs=checks,
        description="Great Expectations on the batches of this build; the candidate release is judged before it gets its name",
    )
    def judge_batches(context: dg.AssetExecutionContext) -> Iterator[Any]:
        data = data_dir()
        try:
            with build_lock(data):
                verdict = gate.judge_batches(data)
                yield from gate.check_results(checks, verdict.findings)
                failed = [finding for finding in verdict.findings if not finding.passed]
                say(context, f"gate: {len(verdict.findings)} expectations of the batches, {len(failed)} not met")
                if verdict.refused:
                    raise release.refuse(data, verdict.paragraph())
                mark_judged(data)
        except SscError as error:
            raise failure(error) from error
        yield dg.MaterializeResult(asset_key=GATE, metadata={"expectations": len(verdict.findings), "not_met": len(failed)})

    return judge_batches


def _release() -> dg.AssetsDefinition:
    checks = gate.check_specs(RELEASE, "candidate")

    @dg.asset(
        key=RELEASE,
        deps=[GATE],
        group_name="release",
        pool=POOL,
        kinds={"duckdb"},
        check_specs=checks,
        description="An audited copy of what this build may publish, switched in atomically",
    )
    def make_release(context: dg.AssetExecutionContext) -> Iterator[Any]:
        data = data_dir()
        verdicts: list[release.Verdict] = []

        def judge(candidate: Path, folder: Path) -> release.Verdict:
            verdicts.append(gate.judge(candidate, folder))
            return verdicts[-1]

        started = time.monotonic()
        refused: ReleaseRefused | None = None
        try:
            with build_lock(data):
                release.check_judged(data)
                made = release.make_candidate(data, judge=judge, progress=lambda line: say(context, f"release: {line}"))
                mark_released(data)
        except ReleaseRefused as error:
            refused = error
        except SscError as error:
            raise failure(error) from error
        # Without a verdict the release was there already, and passed when it was made.
        yield from gate.check_results(checks, verdicts[-1].findings if verdicts else ())
        if refused:
            raise failure(refused) from refused
        yield dg.MaterializeResult(
            asset_key=RELEASE,
            metadata={
                "release_id": made.release_id,
                "as_of": made.as_of.isoformat(),
                "is_new": made.is_new,
                "is_month_end": made.is_month_end,
                "content_hash": made.content_hash,
                "dagster/row_count": sum(table["rows"] for table in made.tables.values()),
                "seconds": round(time.monotonic() - started, 2),
                "path": dg.MetadataValue.path(str(made.path)),
            },
        )

    return make_release


def _superset() -> dg.AssetsDefinition:
    @dg.asset(
        key=SUPERSET,
        deps=[RELEASE],
        group_name="superset",
        kinds={"superset"},
        description="Superset's cached figures of the release before are removed",
    )
    def clear_superset_cache(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        removed = superset.clear_cache(data_dir())
        say(context, f"superset: {removed} cached answers removed")
        return dg.MaterializeResult(metadata={"removed_files": removed})

    return clear_superset_cache
