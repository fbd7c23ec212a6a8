"""What starts runs and what watches them: pull schedules from the catalogue's cadences, the landing sensor, the failure alert.

All are off unless ``SSC_SCHEDULES=on``: a demo or an evaluator moves the clock itself. They can be switched in Dagster too.
"""

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration import alerts
from orchestration.pull import waiting_messages
from orchestration.release import open_file
from orchestration.resources import STARTED_BY_COMMAND
from sources.catalogue import System, is_set_up
from sources.errors import BuildError
from sources.landing import Landing
from sources.settings import data_dir

ZONE = "Asia/Shanghai"
MINUTE_STEPS = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)
HOUR_STEPS = (1, 2, 3, 4, 6, 8, 12)
LOOK_SECONDS = 5  # between two looks at landing; it is part of the way from a message to its release
SAID_AGAIN_AFTER = timedelta(hours=1)  # a system that is pulled every minute and is down is said once an hour
ALERT = "ssc/alert"


def are_on() -> bool:
    return os.environ.get("SSC_SCHEDULES", "").lower() in ("on", "1", "true", "yes")


def cron(system: str, frequency: timedelta, latency: timedelta) -> str:
    """When a system is pulled, as cron in Asia/Shanghai.

    The cadence is rounded down to one that cron can say: minutes that divide an hour, hours that divide a day, a day, a week, a
    month. Within the period the pull comes after the promised latency, plus a jitter of up to a quarter of the period, an hour at
    most, that depends on the system's name alone, so that systems do not all start at once and a restart changes nothing.
    """
    minutes = max(1, int(frequency.total_seconds() // 60))
    late = int(latency.total_seconds() // 60)
    span = max(1, min(60, minutes // 4))
    jitter = int.from_bytes(hashlib.sha256(system.encode()).digest()[:4], "big") % span
    if minutes < 60:
        step = max(s for s in MINUTE_STEPS if s <= minutes)
        return f"{jitter % step}-59/{step} * * * *"
    if minutes < 1440:
        step = max(s for s in HOUR_STEPS if s <= minutes // 60)
        offset = (late + jitter) % (step * 60)
        return f"{offset % 60} {'*' if step == 1 else f'{offset // 60}-23/{step}'} * * *"
    # Latency of a day or more cannot be waited for within a day: then only its time of day counts.
    minute, hour = (late + jitter) % 60, (late + jitter) // 60 % 24
    if minutes < 7 * 1440:
        return f"{minute} {hour} * * *"
    if minutes < 28 * 1440:
        return f"{minute} {hour} * * {(1 + late // 1440) % 7}"  # the week begins on Monday
    return f"{minute} {hour} {min(28, 1 + late // 1440)} * *"


def cadence(system: System) -> timedelta:
    """How often a system is pulled: as often as the fastest of its servers that is set up; where none is, as agreed."""
    of_servers = [of.server.frequency for entity in system.entities for of in entity.deliveries if is_set_up(of)]
    return min(of_servers, default=system.frequency)


def pull_schedule(system: System) -> dg.ScheduleDefinition:
    every = cadence(system)
    return dg.ScheduleDefinition(
        name=f"pull_{system.id}_schedule",
        job_name=f"pull_{system.id}",
        cron_schedule=cron(system.id, every, system.latency),
        execution_timezone=ZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING if are_on() else dg.DefaultScheduleStatus.STOPPED,
        description=f"{system.name_zh}: every {every}",
    )


def pending_loads(systems: Mapping[str, System], data: Path) -> list[str]:
    """``system/entity/load_id`` of the loads that the current release's ledger has not, sorted.

    The ledger is read in the release, which nobody writes, not in the build, which a running dbt holds.
    """
    ledger = data / "published" / "current" / "marts.duckdb"
    taken: set[tuple[str, str, str]] = set()
    if ledger.exists():
        with open_file(ledger.resolve(), read_only=True) as connection:
            taken = set(connection.execute("select system, entity, load_id from quality.load_ledger").fetchall())
    landing = Landing(data / "landing")
    return sorted(
        f"{system.id}/{entity.name}/{load_id}"
        for system in systems.values()
        for entity in system.entities
        for load_id in landing.load_ids(system.id, entity.name)
        if (system.id, entity.name, load_id) not in taken
    )


def run_key(pending: list[str]) -> str:
    """One warehouse run for one set of pending loads and messages: a refused release is not tried again until something new is there."""
    return hashlib.sha256("\n".join(pending).encode()).hexdigest()[:24]


def landing_sensor(systems: Mapping[str, System], job_name: str) -> dg.SensorDefinition:
    @dg.sensor(
        name="landing_sensor",
        job_name=job_name,
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if are_on() else dg.DefaultSensorStatus.STOPPED,
        description="Starts the warehouse when loads have landed that no release has taken, or messages came that no load has",
    )
    def landed(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        running = context.instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=_UNDER_WAY), limit=1)
        if running:
            return dg.SkipReason(f"run {running[0].run_id} is under way")
        try:
            pending = pending_loads(systems, data_dir())
        except BuildError as error:
            return dg.SkipReason(str(error))
        messages = waiting_messages(systems)
        pending += [f"{of.system}/{of.server.name}/{of.name}/{segment}" for of, segments in messages.items() for segment in segments]
        if not pending:
            return dg.SkipReason("every load that landed is in the current release, and no message waits")
        return dg.SensorResult([dg.RunRequest(run_key=run_key(pending), tags={"ssc/pending_loads": str(len(pending))})])

    return landed


_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def alert_of(run: dg.DagsterRun, event: dg.DagsterEvent | None) -> alerts.Alert:
    """The alert of a failed run. ``event``: its first step failure, else the failure of the run."""
    what, where = (event.message or "") if event else "", run.job_name
    next_step = f"open the run in Dagster, mend the cause and start {run.job_name} again"
    data: Any = event.event_specific_data if event else None
    said = getattr(data, "user_failure_data", None)
    if said is not None:
        facts = {name: str(value.value) for name, value in said.metadata.items()}
        what = facts.get("what") or said.description or what
        where, next_step = facts.get("where") or where, facts.get("next_step") or next_step
    elif getattr(data, "error", None) is not None:
        error = data.error
        while error.cause is not None:  # Dagster wraps what our code raised
            error = error.cause
        frame = next((line for line in reversed(error.stack or []) if "site-packages" not in line), "").strip().splitlines()
        what = " ".join([error.message.strip(), f"({frame[0].strip()})" if frame else ""]).strip()
    return alerts.Alert(what=what, where=where, next_step=next_step, job=run.job_name, run_id=run.run_id)


def first_failure(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterEvent | None:
    """The first step failure of a run, else the failure of the run itself."""
    for kind in (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE):
        for record in instance.get_records_for_run(run_id, of_type=kind, ascending=True).records:
            return record.event_log_entry.dagster_event
    return None


def fingerprint(alert: alerts.Alert) -> str:
    return hashlib.sha256(f"{alert.job}\n{alert.where}\n{alert.what}".encode()).hexdigest()[:24]


def said_before(instance: dg.DagsterInstance, run: dg.DagsterRun, alert: alerts.Alert) -> str:
    """The run that alerted with the same words a short while ago; empty where none did."""
    since = datetime.now(UTC) - SAID_AGAIN_AFTER
    records = instance.get_run_records(dg.RunsFilter(job_name=run.job_name, tags={ALERT: fingerprint(alert)}, created_after=since), limit=1)
    return records[0].dagster_run.run_id if records else ""


def failure_alert_sensor() -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name="failure_alert",
        default_status=dg.DefaultSensorStatus.RUNNING if are_on() else dg.DefaultSensorStatus.STOPPED,
        description="Says what failed, where, and what to do next: by webhook, by e-mail, or in data/alerts.jsonl",
    )
    def failure_alert(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        if STARTED_BY_COMMAND in context.dagster_run.tags:
            return dg.SkipReason("the command that started this run has said so itself")
        run = context.dagster_run
        alert = alert_of(run, first_failure(context.instance, run.run_id) or context.failure_event)
        said_by = said_before(context.instance, run, alert)
        if said_by:
            return dg.SkipReason(f"run {said_by} has said the same within {SAID_AGAIN_AFTER}")
        channel = alerts.send(alert)
        context.instance.add_run_tags(run.run_id, {ALERT: fingerprint(alert)})
        context.log.info(f"alert sent: {channel}")
        return None

    return failure_alert
