"""When systems are pulled, what the landing sensor takes for new, and what it makes of it. No instance and no daemon here."""

import itertools
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import pytest
from dagster._utils.schedules import cron_string_iterator  # how Dagster itself reads cron

from orchestration import alerts, schedules
from sources import spool
from sources.catalogue import load_catalogue

ZONE = ZoneInfo("Asia/Shanghai")


def starts(cron: str, days: int = 400) -> list[datetime]:
    begin = datetime(2026, 1, 1, tzinfo=ZONE)
    times = cron_string_iterator(begin.timestamp(), cron, "Asia/Shanghai")
    return list(itertools.takewhile(lambda moment: moment < begin + timedelta(days=days), times))


@pytest.mark.parametrize(
    ("frequency", "per_day"),
    [
        (timedelta(minutes=1), 1440),
        (timedelta(minutes=5), 288),
        (timedelta(minutes=7), 240),  # rounded down to 6 minutes
        (timedelta(minutes=15), 96),
        (timedelta(hours=1), 24),
        (timedelta(minutes=90), 24),  # rounded down to an hour
        (timedelta(hours=6), 4),
        (timedelta(hours=7), 4),
        (timedelta(days=1), 1),
        (timedelta(days=3), 1),
    ],
)
@pytest.mark.parametrize("system", ["waterlogging", "lift_safety", "access_control"])
def test_never_rarer_than_the_cadence(frequency: timedelta, per_day: int, system: str) -> None:
    cron = schedules.cron(system, frequency, timedelta(hours=2))
    times = starts(cron, days=10)
    assert len(times) == 10 * per_day
    assert max(b - a for a, b in itertools.pairwise(times)) == timedelta(days=1) / per_day


def test_weekly_and_monthly() -> None:
    weekly = starts(schedules.cron("ground_collapse", timedelta(days=7), timedelta(days=1)), days=70)
    assert len(weekly) == 10 and {moment.isoweekday() for moment in weekly} == {2}, "a day after the week begins on Monday"
    monthly = starts(schedules.cron("tax_filing", timedelta(minutes=44640), timedelta(days=25)), days=365)
    assert [moment.month for moment in monthly] == list(range(1, 13)) and {moment.day for moment in monthly} == {26}
    late = starts(schedules.cron("civil_affairs", timedelta(days=31), timedelta(days=40)), days=365)
    assert len(late) == 12, "there is a 28th in every month"


def test_daily_pull_waits_for_the_promised_latency() -> None:
    for system in ("waterlogging", "lift_safety", "health_service"):
        hours = {(moment.hour, moment.minute) for moment in starts(schedules.cron(system, timedelta(days=1), timedelta(hours=6)), 3)}
        assert len(hours) == 1 and hours.pop()[0] == 6


def test_jitter_spreads_systems_and_is_the_same_tomorrow() -> None:
    systems = [f"system_{number}" for number in range(27)]
    crons = [schedules.cron(system, timedelta(hours=1), timedelta(hours=2)) for system in systems]
    assert len(set(crons)) > 8
    # sha256sum of the name begins with 44c31538, which leaves 40 when divided by 60
    assert schedules.cron("waterlogging", timedelta(days=1), timedelta(hours=6)) == "40 6 * * *"


@pytest.mark.parametrize(("setting", "expected"), [("on", "RUNNING"), ("", "STOPPED"), ("off", "STOPPED")])
def test_off_unless_switched_on(monkeypatch: pytest.MonkeyPatch, setting: str, expected: str) -> None:
    monkeypatch.setenv("SSC_SCHEDULES", setting)
    system = load_catalogue()["waterlogging"]
    assert schedules.pull_schedule(system).default_status.value == expected
    assert schedules.landing_sensor({}, "warehouse").default_status.value == expected
    assert schedules.failure_alert_sensor().default_status.value == expected


# ------------------------------------------------------------------------------------------------------------ landing sensor


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSC_DATA", str(tmp_path))
    return tmp_path


def land(data: Path, load_id: str, system: str = "waterlogging", entity: str = "water_level") -> None:
    folder = data / "landing" / system / entity / load_id
    folder.mkdir(parents=True)
    (folder / "_manifest.json").write_text(json.dumps({"load_id": load_id}))


def release_with(data: Path, *load_ids: str) -> None:
    folder = data / "published" / "r"
    folder.mkdir(parents=True)
    with duckdb.connect(str(folder / "marts.duckdb")) as connection:
        connection.execute("create schema quality; create table quality.load_ledger (system text, entity text, load_id text)")
        for load_id in load_ids:
            connection.execute("insert into quality.load_ledger values ('waterlogging', 'water_level', ?)", [load_id])
    (data / "published" / "current").symlink_to("r")


def tick(data: Path) -> dg.SensorResult | dg.SkipReason:
    sensor = schedules.landing_sensor(load_catalogue(), "warehouse")
    with dg.DagsterInstance.ephemeral() as instance:
        return sensor(dg.build_sensor_context(instance=instance))  # type: ignore[return-value]


def test_nothing_landed(data: Path) -> None:
    assert isinstance(tick(data), dg.SkipReason)


def test_first_load_starts_a_run_and_the_same_loads_do_not_start_another(data: Path) -> None:
    land(data, "20260930T160000Z-aaaaaaaaaaaa")
    first, again = tick(data), tick(data)
    assert isinstance(first, dg.SensorResult) and isinstance(again, dg.SensorResult)
    [one], [other] = first.run_requests or [], again.run_requests or []
    assert one.run_key == other.run_key, "Dagster starts one run for one key, so a refused release is not tried again"
    land(data, "20261001T160000Z-bbbbbbbbbbbb")
    third = tick(data)
    assert isinstance(third, dg.SensorResult) and (third.run_requests or [])[0].run_key != one.run_key


def test_loads_in_the_release_are_not_pending(data: Path) -> None:
    land(data, "20260930T160000Z-aaaaaaaaaaaa")
    release_with(data, "20260930T160000Z-aaaaaaaaaaaa")
    assert schedules.pending_loads(load_catalogue(), data) == []
    assert isinstance(tick(data), dg.SkipReason)
    land(data, "20260930T160000Z-aaaaaaaaaaaa", entity="rain_gauge")
    assert schedules.pending_loads(load_catalogue(), data) == ["waterlogging/rain_gauge/20260930T160000Z-aaaaaaaaaaaa"]


def test_messages_start_a_run_without_a_pull(data: Path) -> None:
    """Nobody pulls first: the warehouse run takes them. More of them are news, the same ones are not."""
    land(data, "20260930T160000Z-aaaaaaaaaaaa")
    release_with(data, "20260930T160000Z-aaaaaaaaaaaa")
    segments = spool.Segments(spool.folder("waterlogging", "live", "water_level"))
    keys = []
    for _ in range(2):
        segments.append([b'{"refDevice":"B-1"}\n'])
        assert isinstance(tick(data), dg.SkipReason) is (not keys), "an open segment is not yet to be taken"
        segments.close()
        first, again = tick(data), tick(data)
        assert isinstance(first, dg.SensorResult) and isinstance(again, dg.SensorResult)
        [one], [other] = first.run_requests or [], again.run_requests or []
        assert one.run_key == other.run_key
        keys.append(one.run_key)
    assert keys[0] != keys[1]


def test_cadence_comes_from_the_catalogue() -> None:
    system = load_catalogue()["tax_filing"]
    hourly = replace(system, entities=(), frequency=timedelta(hours=1))
    assert len(starts(schedules.pull_schedule(hourly).cron_schedule, 10)) == 240
    assert len(starts(schedules.pull_schedule(system).cron_schedule, 365)) == 12
    assert schedules.pull_schedule(system).execution_timezone == "Asia/Shanghai"


def test_a_system_is_pulled_as_often_as_its_fastest_server_that_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    system = load_catalogue()["waterlogging"]
    assert schedules.cadence(system) == timedelta(hours=1), "its export"
    monkeypatch.setenv("SSC_WATERLOGGING_LIVE_URL", "mqtt://127.0.0.1")
    assert schedules.cadence(system) == timedelta(minutes=5), "its messages"
    assert len(starts(schedules.pull_schedule(system).cron_schedule, 1)) == 288


def test_the_same_failure_is_said_once_an_hour() -> None:
    alert = alerts.Alert(what="the collector was ended", where="waterlogging/water_level", next_step="start it", job="pull_waterlogging")
    other = replace(alert, what="the folder is not there")
    with dg.DagsterInstance.ephemeral() as instance:

        def failed() -> dg.DagsterRun:
            return instance.create_run_for_job(_job())

        assert schedules.said_before(instance, failed(), alert) == ""
        first = failed()
        instance.add_run_tags(first.run_id, {schedules.ALERT: schedules.fingerprint(alert)})
        assert schedules.said_before(instance, failed(), alert) == first.run_id
        assert schedules.said_before(instance, failed(), other) == ""


def _job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job(name="pull_waterlogging")
    def pull_waterlogging() -> None:
        nothing()

    return pull_waterlogging
