"""From a message to its release: the part ``latency`` of ``make bench``. Everything runs as in ``make up``, at the scale ``BENCH_SCALE``.

The reference district is pulled and released once; then a publisher sends readings of its water gauges to a broker (Mosquitto where
it is installed, else amqtt) for ``BENCH_LATENCY_MINUTES``, the collector takes them, and Dagster's own schedules and sensors pull,
build, judge and release. The clock of the data runs on with the wall clock from where the district ends. A reading is released when the
load it lies in is in the ledger of the release that ``current`` names; a warning, when it stands in ``mart.fct_warning``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl

from sources.settings import root
from tests.messages import MOSQUITTO, PASSWORD, USER, Amqtt, Mosquitto, collecting, free_port, publishing, running
from tests.whole_way import MOMENTS, Warehouse, district

SYSTEM, ENTITY = "waterlogging", "water_level"
PER_SECOND = 5  # about what 300 devices send that report every minute
ALARM_EVERY_SECONDS = 20
ALARM_METRES, USUAL_METRES = 4.9, 0.02
WAIT_SECONDS = 420  # after the last message
RULE = "water_at_alarm_level"


@dataclass
class Way:
    """What was sent and has not been seen released, and what was: seconds from publication to release."""

    sent: dict[tuple[str, str], float] = field(default_factory=dict)
    alarms: dict[str, float] = field(default_factory=dict)
    readings_s: list[float] = field(default_factory=list)
    warnings_s: list[float] = field(default_factory=list)
    count: int = 0


@contextlib.contextmanager
def clock(path: Path, start: datetime) -> Iterator[Callable[[], datetime]]:
    """A replay clock that stands at ``start`` until it is first asked for, and then runs with the wall clock."""
    began: list[float] = []
    done = threading.Event()

    def now() -> datetime:
        return start + timedelta(seconds=time.monotonic() - began[0] if began else 0)

    def write() -> None:
        draft = path.with_suffix(".part")
        draft.write_text(now().isoformat(timespec="seconds"))
        os.replace(draft, path)

    def run() -> None:
        while not done.wait(1.0):
            write()

    def ask() -> datetime:
        if not began:
            began.append(time.monotonic())
        return now()

    write()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ask
    finally:
        done.set()
        thread.join()


def publish(port: int, gauges: list[str], seconds: float, now: Callable[[], datetime], way: Way) -> None:
    """Send readings of the gauges in turn; now and then one that is above every alarm level, each from another gauge."""
    quiet, loud = gauges[: len(gauges) // 2], gauges[len(gauges) // 2 :]
    with publishing(port) as publisher:
        began = time.monotonic()
        alarms = 0
        while (passed := time.monotonic() - began) < seconds:
            moments = [(quiet[way.count % len(quiet)], USUAL_METRES)]
            if passed >= alarms * ALARM_EVERY_SECONDS and alarms < len(loud):
                moments.append((loud[alarms], ALARM_METRES))
                alarms += 1
            for device, metres in moments:
                observed = now().isoformat(timespec="milliseconds")
                way.sent[(device, observed)] = time.time()
                if metres == ALARM_METRES:
                    way.alarms[device] = time.time()
                publisher.publish(
                    f"{SYSTEM}/{ENTITY}/{device}",
                    {"refDevice": device, "dateObserved": observed, "waterLevel": metres, "batteryLevel": 90},
                )
                way.count += 1
            time.sleep(max(0.0, way.count / PER_SECOND - (time.monotonic() - began)))
        publisher.settle()


def query(release: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(release / "marts.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def look(warehouse: Warehouse, release: Path, seen: set[str], warned_before: dict[str, int], way: Way) -> None:
    """Take in a new release: which of the readings that were sent are in it."""
    at = time.time()
    loads = {
        load for (load,) in query(release, f"select load_id from quality.load_ledger where system = '{SYSTEM}' and entity = '{ENTITY}'")
    }
    for load in sorted(loads - seen):
        seen.add(load)
        for part in (warehouse.data / "landing" / SYSTEM / ENTITY / load).glob("*.parquet"):
            for found in pl.read_parquet(part, columns=["refDevice", "dateObserved"]).rows():
                if found in way.sent:
                    way.readings_s.append(at - way.sent.pop(found))
    if warned_before:
        for device, count in warnings(release).items():
            if device in way.alarms and count > warned_before.get(device, 0):
                way.warnings_s.append(at - way.alarms.pop(device))


def warnings(release: Path) -> dict[str, int]:
    """How many warnings of the alarm level each gauge has; empty where the release knows no warnings."""
    if not query(release, "select 1 from information_schema.tables where table_schema = 'mart' and table_name = 'fct_warning'"):
        return {}
    return dict(query(release, f"select device_id, count(*) from mart.fct_warning where rule_id = '{RULE}' group by device_id")) | {"": 0}  # type: ignore[arg-type]


def percentiles(seconds: list[float]) -> dict[str, float | int]:
    if not seconds:
        return {"count": 0}
    cuts = statistics.quantiles([*seconds, *seconds[: len(seconds) == 1]], n=100, method="inclusive")  # of one value, that value
    return {"count": len(seconds), "p50_s": round(cuts[49], 1), "p95_s": round(cuts[94], 1), "max_s": round(max(seconds), 1)}


def latency(work: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds from publication to release, and of the warehouse run."""
    minutes = float(os.environ.get("BENCH_LATENCY_MINUTES") or 20)
    scale = os.environ.get("BENCH_SCALE") or "demo"
    work.mkdir(parents=True)
    kind = Mosquitto if MOSQUITTO else Amqtt
    start = datetime.fromisoformat(MOMENTS[-1])
    with contextlib.ExitStack() as stack:
        say(f"latency: a district at scale {scale}, {kind.__name__}")
        place = stack.enter_context(district(work / "district", scale=scale))
        broker = stack.enter_context(running(kind(work / "broker")))
        now = stack.enter_context(clock(work / "clock", start))
        place.move(MOMENTS[-1])
        settings = {"SSC_CLOCK": str(work / "clock")}
        for name in ("WATERLOGGING", "FIRE_DETECTION"):
            settings |= {f"SSC_{name}_LIVE_URL": f"mqtt://{USER}@127.0.0.1:{broker.port}", f"SSC_{name}_LIVE_PASSWORD": PASSWORD}
        warehouse = Warehouse(work / "warehouse", place, settings)
        stack.enter_context(collecting(warehouse.data, **settings)).wait_for_event("connected", count=2)
        say("latency: pulling and releasing what there is")
        warehouse.start("update").wait()
        first = warehouse.release()
        if first is None:
            raise SystemExit(f"latency: there is no release to begin with\n{warehouse.log.read_text()[-3000:]}")
        gauges = [
            device for (device,) in query(first, "select device_id from mart.dim_device where device_type = 'water_level' order by 1")
        ]
        say(f"latency: schedules on; {minutes:g} minutes of {PER_SECOND} messages a second from {len(gauges)} gauges")
        stack.enter_context(scheduling(warehouse))
        way, seen, released = Way(), set[str](), [first]
        look(warehouse, first, seen, {}, way)
        before = warnings(first)
        sender = threading.Thread(target=publish, args=(broker.port, gauges, minutes * 60, now, way))
        sender.start()
        deadline = time.monotonic() + minutes * 60 + WAIT_SECONDS
        while (sender.is_alive() or way.sent or (before and way.alarms)) and time.monotonic() < deadline:
            current = warehouse.release()
            if current and current != released[-1]:
                look(warehouse, current, seen, before, way)
                released.append(current)
                say(f"latency: {current.name}: {len(way.readings_s)} of {way.count} readings released")
            time.sleep(0.5)
        sender.join()
        runs, unfinished = warehouse_runs(warehouse.home)
    return {
        "minutes": minutes,
        "scale": scale,
        "broker": kind.__name__.lower(),
        "driven_by": "Dagster's landing sensor and schedules",
        "readings": percentiles(way.readings_s),
        "readings_never_released": len(way.sent),
        "warnings": percentiles(way.warnings_s) if before else "no mart.fct_warning",
        "warnings_never_released": len(way.alarms) if before else None,
        "p95_wanted_s": 120,
        "releases": len(released) - 1,
        "warehouse_run": percentiles(runs),
        "warehouse_run_wanted_s": 40,
        "warehouse_runs_without_release": unfinished,
    }


@contextlib.contextmanager
def scheduling(warehouse: Warehouse) -> Iterator[None]:
    """Dagster with its schedules and sensors on, as ``make up`` starts it."""
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-h", "127.0.0.1", "-p", str(free_port())]
    with (warehouse.folder / "dagster.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "-m", "orchestration.definitions", "--log-level", "warning"],
            cwd=root(),
            env=warehouse.environment(SSC_SCHEDULES="on"),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)


def warehouse_runs(home: Path) -> tuple[list[float], int]:
    """Seconds of every warehouse run that Dagster started and that ended well, and the number of its other ones."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        records = [
            record
            for record in instance.get_run_records(dg.RunsFilter(job_name="warehouse"))
            if "ssc/started_by_command" not in record.dagster_run.tags
        ]
    good = [record for record in records if record.dagster_run.status == dg.DagsterRunStatus.SUCCESS]
    return [float(record.end_time or 0) - float(record.start_time or 0) for record in good], len(records) - len(good)


if __name__ == "__main__":
    print(json.dumps(latency(Path(sys.argv[1]), lambda line: print(line, file=sys.stderr, flush=True)), indent=1))
