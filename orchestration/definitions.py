"""Everything that Dagster shows, put together; nothing is made here."""

from __future__ import annotations

import dagster as dg

from orchestration.pull import pull_assets, pull_jobs
from orchestration.schedules import failure_alert_sensor, landing_sensor, pull_schedule
from orchestration.warehouse import JOB, warehouse_definitions
from sources.catalogue import load_catalogue

systems = load_catalogue()

defs = dg.Definitions.merge(
    dg.Definitions(
        assets=[pull_assets(system) for system in systems.values()],
        jobs=[job for system in systems.values() for job in pull_jobs(system)],
        schedules=[pull_schedule(system) for system in systems.values()],
        sensors=[landing_sensor(systems, JOB), failure_alert_sensor()],
        # The multiprocess executor pays seconds of imports for every step.
        executor=dg.in_process_executor,
    ),
    warehouse_definitions(systems),
)
