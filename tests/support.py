"""What several tests need: a copy of the project, landing rows by hand, and running dbt."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl

from orchestration.build import Build, build_lock, dbt_environment, prepare
from sources.catalogue import Entity
from sources.landing import Landing, Manifest
from sources.settings import root

PRODUCT = ("sources", "orchestration", "dbt_project", "expectations", "dashboards")


def copy_of_the_project(to: Path) -> Path:
    """The product's folders without anything that a run left in them."""
    for name in PRODUCT:
        shutil.copytree(root() / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "target", "logs"))
    return to


def land(
    entity: Entity, rows: list[dict[str, str | None]], until: datetime, since: datetime | None = None, *, cursor: object = "c"
) -> Manifest:
    """Land rows under the source's own column names, as a connector would."""
    with Landing().writer(entity.system, entity.name, entity.contract_version, since, until) as writer:
        frame = pl.DataFrame(rows, schema={name: pl.String for row in rows for name in row}) if rows else pl.DataFrame()
        return writer.commit_frames([frame] if rows else [], cursor)


def dbt(data: Path, *arguments: str, project: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run dbt on a data folder; its target and logs lie there too."""
    project = project or root() / "dbt_project"
    command = [
        str(Path(sys.executable).with_name("dbt")),
        "--quiet",
        *arguments,
        "--project-dir",
        str(project),
        "--profiles-dir",
        str(project),
    ]
    command += ["--target-path", str(data / "target"), "--log-path", str(data / "logs")]
    environment = {**os.environ, **dbt_environment(data)}
    return subprocess.run(command, env=environment, cwd=project, capture_output=True, text=True, timeout=600)


def build(data: Path, *select: str) -> Build:
    """Prepare and build everything as the warehouse does, or the selected models alone; fails the test with dbt's own words."""
    with build_lock(data):
        plan = prepare(data)
        if plan.rebuild:
            done = dbt(data, "run", "--full-refresh", "--select", *plan.rebuild)
            assert done.returncode == 0, done.stdout + done.stderr
            prepare(data)
        done = dbt(data, *replace(plan, unchanged=[]).dbt_arguments, "--select", *select) if select else dbt(data, *plan.dbt_arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    return plan


def query(data: Path, sql: str, database: str = "warehouse") -> list[tuple]:
    """Rows of a query on one of the build's files."""
    with duckdb.connect(str(data / "build" / f"{database}.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()
