"""Runs Dagster's jobs in this process, for commands: the runs are in Dagster's history like any others.

One process does all pulls and the warehouse, because the imports alone cost seconds. What a job does belongs in its own module.
"""

import logging
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from orchestration import alerts
from orchestration.resources import STARTED_BY_COMMAND
from orchestration.schedules import alert_of, first_failure
from sources.errors import SscError
from sources.settings import root

PROCESS = "ssc/process"
QUIET: dict[str, Any] = {"loggers": {"silent": {"config": {}}}}


class RunFailed(SscError):
    """A run of a job failed; the message is the one of its first failed step."""


def instance() -> dg.DagsterInstance:
    """The Dagster instance of ``DAGSTER_HOME``, by default the repository's root, where ``dagster.yaml`` lies."""
    os.environ.setdefault("DAGSTER_HOME", str(root()))
    return dg.DagsterInstance.get()


def run_job(
    name: str,
    *,
    partition: str | None = None,
    config: Mapping[str, Any] | None = None,
    on: dg.DagsterInstance | None = None,
    definitions: dg.Definitions | None = None,
) -> str:
    """Run a job to its end in this process, printing its progress.

    Args:
        name: ``pull_<system>``, ``backfill_<system>`` or ``warehouse``.
        partition: the day of a backfill, ``YYYY-MM-DD``.
        config: Dagster's run config, if the job takes any.
        on: the instance; default that of ``DAGSTER_HOME``.
        definitions: default ours.

    Returns:
        The run's id.

    Raises:
        RunFailed: the job failed. It was alerted, too.
        SscError: there is no such job, or no such partition.
    """
    if definitions is None:
        from orchestration.definitions import defs

        definitions = defs
    try:
        job = definitions.resolve_job_def(name)
    except dg.DagsterInvariantViolationError as error:
        jobs = sorted(job.name for job in definitions.resolve_all_job_defs())
        raise SscError(f"there is no job {name!r}", next_step=f"name one of {', '.join(jobs)}") from error
    if partition is not None:
        keys = job.partitions_def.get_partition_keys() if job.partitions_def else []
        if partition not in keys:
            given = f"a day from {keys[0]} to {keys[-1]}" if keys else "no day: it takes none"
            raise SscError(f"{name} has no day {partition!r}", next_step=f"give {given}")
        config = job.get_run_config_for_partition_key(partition) if config is None else config
    on = on or instance()
    end_dead_runs(on)
    tags = {STARTED_BY_COMMAND: "true", PROCESS: f"{socket.gethostname()}:{os.getpid()}"}
    quiet_job = job.with_logger_defs({"silent": silent_logger})
    result = quiet_job.execute_in_process(
        run_config={**(config or {}), **QUIET},
        instance=on,
        raise_on_error=False,
        tags=tags | ({"dagster/partition": partition} if partition else {}),
    )
    if not result.success:
        run = on.get_run_by_id(result.run_id)
        assert run is not None
        alert = alert_of(run, first_failure(on, result.run_id))
        alerts.send(alert)
        raise RunFailed(alert.what, where=alert.where, next_step=alert.next_step)
    return result.run_id


def run_jobs(names: Iterable[str], **how: Any) -> None:
    """Run several jobs, each whatever became of the one before; then fail once with every cause.

    Raises:
        RunFailed: at least one failed.
    """
    failures = []
    for name in names:
        try:
            run_job(name, **how)
        except RunFailed as error:
            print(f"{name}: failed", flush=True)
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise RunFailed(
            f"{len(failures)} runs failed:" + "".join(f"\n  {error}" for error in failures),
            next_step="mend the causes above and repeat the command",
        )


def end_dead_runs(on: dg.DagsterInstance) -> int:
    """Mark runs whose process was killed as failed; otherwise they would look as if they were under way, and hold their pool.

    Returns:
        The number of runs ended.
    """
    ended = 0
    for run in on.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])):
        host, _, process = run.tags.get(PROCESS, "").rpartition(":")
        if host == socket.gethostname() and process.isdigit() and not _is_alive(int(process)):
            on.report_run_failed(run, "The process of this run was killed. Its work is repeated by the next run.")
            ended += 1
    return ended


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dg.logger(None, description="Nothing on the terminal: what people should see is said by the jobs, and all the rest is in Dagster's log")
def silent_logger(_: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("silent")
    logger.addHandler(logging.NullHandler())
    return logger
