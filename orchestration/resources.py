"""Where dbt's project and manifest lie, how dbt is called, and how progress and errors reach people. No assets, no jobs here."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.build import dbt_environment
from sources.errors import BuildError, SscError
from sources.settings import root

STARTED_BY_COMMAND = "ssc/started_by_command"
PARSED = ("models", "macros", "seeds", "tests", "analyses", "snapshots")


def project_dir() -> Path:
    return root() / "dbt_project"


def target_path() -> Path:
    """dbt's target folder for DuckDB; ``DBT_TARGET_PATH`` moves it, which tests do."""
    return Path(os.environ.get("DBT_TARGET_PATH") or project_dir() / "target")


def manifest(*, project: Path | None = None, target: Path | None = None) -> Mapping[str, Any]:
    """dbt's manifest of the project, parsed anew only where it is missing, damaged or older than the project.

    Raises:
        BuildError: dbt cannot parse the project.
    """
    project, target = project or project_dir(), target or target_path()
    path = target / "manifest.json"
    newest = _newest(project)
    found = _read(path, newest)
    if found is not None:
        return found
    target.mkdir(parents=True, exist_ok=True)
    with open(target / ".parse.lock", "w") as lock:  # several processes load the definitions at once: one of them parses
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _read(path, newest)
        if found is None:
            _parse(project, target)
            found = _read(path, 0.0)
    if found is None:
        raise BuildError("dbt wrote no manifest", where=str(path), next_step=f"run `dbt parse` in {project}")
    return found


def _newest(project: Path) -> float:
    """Time of the last change below the project, folders included, so that a removed file counts."""
    newest = max((path.stat().st_mtime for path in project.glob("*.yml")), default=0.0)
    for name in PARSED:
        for folder, _, files in os.walk(project / name):
            newest = max(newest, os.stat(folder).st_mtime, *(os.stat(os.path.join(folder, file)).st_mtime for file in files), 0.0)
    return newest


def _read(path: Path, newest: float) -> Mapping[str, Any] | None:
    try:
        if path.stat().st_mtime < newest:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _parse(project: Path, target: Path) -> None:
    environment = {**os.environ, **dbt_environment(), "DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(target)}
    done = subprocess.run(
        [dbt_executable(), "--no-use-colors", "parse"], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(
            f"dbt cannot parse the project:\n{(done.stdout + done.stderr).strip()[-2000:]}",
            where=str(project),
            next_step="mend the file that is named above",
        )


def dbt_executable() -> str:
    """The dbt that is installed beside this Python, whatever PATH says."""
    beside = Path(sys.executable).parent / "dbt"
    return str(beside) if beside.exists() else "dbt"


def say(context: dg.AssetExecutionContext, line: str) -> None:
    """A line of progress: in the run's log, and on the terminal of the command that started the run."""
    context.log.info(line)
    if is_command(context):
        print(f"{context.run.job_name}: {line}", flush=True)


def is_command(context: dg.AssetExecutionContext) -> bool:
    """Whether a command of ours runs the job, rather than Dagster's daemon or page."""
    return STARTED_BY_COMMAND in context.run.tags


def failure(error: SscError) -> dg.Failure:
    """An error of ours as Dagster shows it: its sentence, where, and what to do next."""
    return dg.Failure(
        description=str(error),
        metadata={"what": error.what, "where": error.where, "next_step": error.next_step},
        allow_retries=False,
    )
