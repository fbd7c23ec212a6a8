"""Messages over real brokers, with the collector, the broker and the network killed and cut: nothing lost, nothing counted twice.

The publisher counts what the broker has acknowledged; afterwards every one of those is in landing at least once by its key, and after
staging exactly once. Where the collector is stopped is seen, not waited for: the interpreter itself stops the process right before or
after a system call (put in by the environment, not by the product); then it is killed.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sources.catalogue import Entity, load_catalogue
from sources.connectors import pull
from sources.errors import PullError
from sources.landing import Landing
from sources.settings import root
from tests.messages import (
    MOSQUITTO,
    PASSWORD,
    USER,
    Amqtt,
    Broker,
    Collector,
    Mosquitto,
    Wire,
    collecting,
    publishing,
    readings,
    running,
    spooled,
    wait_for,
)
from tests.support import build, query

needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (Debian: apt-get install mosquitto)")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
NOW = datetime(2026, 10, 2, tzinfo=UTC)

# Runs in the collector's Python. Stops it before or after the n-th call of a function of `os`, and says so.
STOPPER = """
import os, signal

def _stop_at(when, name, nth):
    real, left = getattr(os, name), [int(nth)]

    def stop():
        with open(os.environ["SSC_TEST_STOPPED"], "w") as file:
            file.write(name)
        os.kill(os.getpid(), signal.SIGSTOP)

    def call(*arguments, **more):
        left[0] -= 1
        if not left[0] and when == "before":
            stop()
        result = real(*arguments, **more)
        if not left[0] and when == "after":
            stop()
        return result

    setattr(os, name, call)

if os.environ.get("SSC_TEST_STOP"):
    _stop_at(*os.environ["SSC_TEST_STOP"].split())
"""


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with running(Mosquitto(tmp_path / "broker")) as broker:
        yield broker


def of_fire(port: int, **more: str) -> dict[str, str]:
    return {
        "SSC_FIRE_DETECTION_LIVE_URL": f"mqtt://{USER}@127.0.0.1:{port}",
        "SSC_FIRE_DETECTION_LIVE_PASSWORD": PASSWORD,
        **more,
    }


def smoke(delivery: str = "stream") -> Entity:
    entity = load_catalogue()["fire_detection"].entity("smoke_reading")
    return next(of for of in entity.deliveries if of.server.delivery == delivery)


def key(row: dict[str, Any]) -> tuple[str, str]:
    return row["detectorId"], row["time"]


def keys(numbers: range) -> list[tuple[str, str]]:
    found = sorted(key(message) for _, message in readings(numbers))
    assert len(set(found)) == len(numbers), "the publisher sends no key twice"
    return found


def landed_keys() -> list[tuple[str, str]]:
    landing, found = Landing(), []
    for load_id in landing.load_ids("fire_detection", "smoke_reading"):
        manifest = landing.manifest("fire_detection", "smoke_reading", load_id)
        assert manifest is not None
        if manifest.parts:
            found += pl.read_parquet(manifest.parts).select("detectorId", "time").rows()
    return sorted(found)


def wait_until_spooled(data: Path, count: int, seconds: float = 60.0) -> None:
    """Until so many different keys lie in the spool."""
    wait_for(lambda: len({key(row) for row in spooled(data)}) >= count, seconds, f"{count} rows in the spool")


def send(broker: Broker, numbers: range) -> None:
    with publishing(broker.port) as publisher:
        for topic, message in readings(numbers):
            publisher.publish(topic, message)
        publisher.settle()


def ended(collector: Collector) -> None:
    assert collector.kill(signal.SIGTERM) == 0, collector.log.read_text()
    assert not list((collector.data / "spool").rglob("*.open"))


def assert_landed(numbers: range) -> int:
    """Pull what is in the spool, and find every reading in landing by its key, and no other; returns how many came twice."""
    pull(smoke(), until=NOW)
    wanted = keys(numbers)
    landed = landed_keys()
    assert sorted(set(landed)) == wanted, f"{len(set(wanted) - set(landed))} readings are missing in landing"
    return len(landed) - len(wanted)


def assert_staged_once(data: Path, numbers: range) -> None:
    """The same, and after a build every reading is staged once, and those that came twice are counted as superseded."""
    twice = assert_landed(numbers)
    build(data, "base_fire_detection__smoke_reading", "stg_fire_detection__smoke_reading")
    staged = query(data, "select count(*), count(distinct (device_id, observed_at)) from staging.stg_fire_detection__smoke_reading")
    assert staged == [(len(numbers), len(numbers))]
    [(repeated, broken)] = query(
        data,
        "select count(*) filter (where _is_superseded), count(*) filter (where _broken_rules is not null) "
        "from base.base_fire_detection__smoke_reading",
    )
    assert (repeated, broken) == (twice, 0)
    reconciled = query(
        data,
        "select sum(staged_count), sum(quarantined_count), sum(superseded_count) from ledger.fire_detection__smoke_reading__counts",
    )
    assert [int(number or 0) for number in reconciled[0]] == [len(numbers), 0, twice]


# ------------------------------------------------------------------------------------------------------------ Mosquitto


@needs_mosquitto
def test_messages_of_both_protocols_land_and_a_term_ends_it_cleanly(mosquitto: Mosquitto, data: Path) -> None:
    with collecting(data, **of_fire(mosquitto.port)) as collector:
        assert collector.wait_for_event("connected")["protocol"] == "5"
        send(mosquitto, range(1000))
        wait_until_spooled(data, 1000)
        beat = wait_for(lambda: (b := collector.heartbeat())["servers"]["fire_detection/live"]["messages"] == 1000 and b)
        state = beat["servers"]["fire_detection/live"]
        assert state["connected"] and state["rows"] == {"smoke_reading": 1000, "fire_alarm": 0} and not state["fault"]
        assert datetime.fromisoformat(state["last_message_at"]) > datetime.now(UTC) - timedelta(minutes=1)
        ended(collector)
        assert collector.heartbeat()["ended"] and not collector.heartbeat()["servers"]["fire_detection/live"]["connected"]
        send(mosquitto, range(1000, 1100))  # nobody listens; the broker keeps them
        collector.start()
        wait_until_spooled(data, 1100)
        ended(collector)
        assert PASSWORD not in collector.log.read_text() + json.dumps(collector.heartbeat())
    assert assert_landed(range(1100)) == 0, "without a disturbance nothing comes twice"


MOMENTS = [
    pytest.param("before fdatasync 3", id="written, not synced"),
    pytest.param("after fdatasync 3", id="synced, not acknowledged"),
    pytest.param("before fdatasync 1", id="the first message"),
    pytest.param("before rename 1", id="before a segment is closed"),
    pytest.param("after rename 1", id="between a closed segment and the next"),
]


@needs_mosquitto
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_collector_is_killed(moment: str, mosquitto: Mosquitto, data: Path, tmp_path: Path) -> None:
    (tmp_path / "stopper").mkdir()
    (tmp_path / "stopper" / "sitecustomize.py").write_text(STOPPER)
    stopped = tmp_path / "stopped"
    path = os.pathsep.join([str(tmp_path / "stopper"), str(root())])
    hold = {"SSC_TEST_STOP": moment, "SSC_TEST_STOPPED": str(stopped), "PYTHONPATH": path}
    with collecting(data, start=False, **of_fire(mosquitto.port)) as collector:
        collector.start()  # once without, so that the broker has the session
        collector.wait_for_event("connected")
        ended(collector)
        collector.start(**hold)
        collector.wait_for_event("connected", count=2)
        with publishing(mosquitto.port) as publisher:
            for topic, message in readings(range(300)):
                publisher.publish(topic, message)
            wait_for(stopped.exists, what=f"the collector at {moment}")
            collector.kill()
            for topic, message in readings(range(300, 400)):
                publisher.publish(topic, message)
            publisher.settle()
        collector.start()
        wait_until_spooled(data, 400)
        ended(collector)
    assert_landed(range(400))


@needs_mosquitto
def test_the_collector_is_killed_again_and_again_in_mid_stream_while_it_is_pulled(mosquitto: Mosquitto, data: Path) -> None:
    chance = random.Random(440304)
    with collecting(data, **of_fire(mosquitto.port)) as collector, publishing(mosquitto.port) as publisher:
        collector.wait_for_event("connected")
        until, sent = NOW - timedelta(hours=1), iter(readings(range(4000)))
        for life in range(2, 7):
            for topic, message in [next(sent) for _ in range(500)]:
                publisher.publish(topic, message)
            time.sleep(chance.uniform(0.0, 0.3))
            collector.kill()
            until += timedelta(minutes=1)
            pull_whatever_the_collector_does(until)
            collector.start()
            collector.wait_for_event("connected", count=life)
        for topic, message in sent:
            publisher.publish(topic, message)
        publisher.settle()
        time.sleep(2.5)
        pull(smoke(), until=until + timedelta(minutes=1))
        in_landing = set(landed_keys())
        wait_for(lambda: len(in_landing | {key(row) for row in spooled(data)}) == 4000, 60, "all 4,000 in landing or spool")
        ended(collector)
    assert_staged_once(data, range(4000))


def pull_whatever_the_collector_does(until: datetime) -> None:
    try:
        pull(smoke(), until=until)
    except PullError as error:
        assert "collector" in str(error)


@needs_mosquitto
def test_a_pull_that_is_killed_between_load_and_removal(mosquitto: Mosquitto, data: Path, tmp_path: Path) -> None:
    (tmp_path / "stopper").mkdir()
    (tmp_path / "stopper" / "sitecustomize.py").write_text(STOPPER)
    stopped = tmp_path / "stopped"
    with collecting(data, **of_fire(mosquitto.port)) as collector:
        collector.wait_for_event("connected")
        send(mosquitto, range(200))
        wait_until_spooled(data, 200)
        ended(collector)
    code = (
        "from datetime import datetime; from sources.catalogue import load_catalogue; from sources.connectors import pull\n"
        "of = load_catalogue()['fire_detection'].entity('smoke_reading').deliveries[1]\n"
        f"pull(of, until=datetime.fromisoformat('{(NOW - timedelta(minutes=5)).isoformat()}'))"
    )
    hold = {"SSC_TEST_STOP": "before unlink 1", "SSC_TEST_STOPPED": str(stopped), "SSC_DATA": str(data)}
    path = os.pathsep.join([str(tmp_path / "stopper"), str(root())])
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **hold, "PYTHONPATH": path})
    wait_for(stopped.exists, what="the pull before the first segment goes")
    process.kill()
    process.wait()
    assert len(landed_keys()) == 200 and len(list(spooled(data))) == 200, "they are in the load, and still in the spool"
    assert assert_landed(range(200)) == 0 and not list(spooled(data))


@needs_mosquitto
def test_the_broker_is_killed(tmp_path: Path, data: Path) -> None:
    """With messages that the collector has not acknowledged and others that wait for it; what the broker saved, it sends."""
    broker = Mosquitto(tmp_path / "broker")
    broker.saves = True
    with running(broker), collecting(data, **of_fire(broker.port)) as collector:
        collector.wait_for_event("connected")
        send(broker, range(100))
        wait_until_spooled(data, 100)
        assert collector.process
        os.kill(collector.process.pid, signal.SIGSTOP)
        send(broker, range(100, 400))  # twenty are in flight, the others wait
        time.sleep(1.0)  # it saves right after
        broker.kill()
        os.kill(collector.process.pid, signal.SIGCONT)
        time.sleep(1.5)
        broker.start()
        collector.wait_for_event("connected", count=2)
        send(broker, range(400, 500))
        wait_until_spooled(data, 500)
        ended(collector)
    assert_landed(range(500))


@needs_mosquitto
def test_the_network_is_cut(mosquitto: Mosquitto, data: Path) -> None:
    wire = Wire(mosquitto.port)
    with collecting(data, **of_fire(wire.port)) as collector, publishing(mosquitto.port) as publisher:
        collector.wait_for_event("connected")
        sent = iter(readings(range(1500)))
        for cut in range(3):
            for topic, message in [next(sent) for _ in range(300)]:
                publisher.publish(topic, message)
            time.sleep(0.1)
            wire.cut()
            for topic, message in [next(sent) for _ in range(100)]:
                publisher.publish(topic, message)
            time.sleep(0.5)
            wire.mend()
            collector.wait_for_event("connected", count=cut + 2)
        for topic, message in sent:
            publisher.publish(topic, message)
        publisher.settle()
        wait_until_spooled(data, 1500)
        ended(collector)
    wire.close()
    assert_landed(range(1500))


@needs_mosquitto
def test_a_disk_that_takes_nothing_holds_the_messages_back_and_loses_none(mosquitto: Mosquitto, data: Path) -> None:
    """The kernel lets no file of the process grow, which is as a full disk is; then it does again."""
    with collecting(data, **of_fire(mosquitto.port)) as collector:
        collector.wait_for_event("connected")
        send(mosquitto, range(50))
        wait_until_spooled(data, 50)
        assert collector.process
        limits = resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, (1, limits[1]))
        send(mosquitto, range(50, 300))
        time.sleep(6.0)  # past a heartbeat and several tries
        assert len({key(row) for row in spooled(data)}) == 50
        resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, limits)
        wait_until_spooled(data, 300)
        written = collector.wait_for_event("written again")
        assert written["server"] == "fire_detection/live" and collector.process.poll() is None
        ended(collector)
    assert_landed(range(300))


@needs_mosquitto
def test_what_is_no_record_waits_in_quarantine_whole(mosquitto: Mosquitto, data: Path) -> None:
    [(topic, reading), (_, other)] = readings(range(2))
    with collecting(data, **of_fire(mosquitto.port)) as collector, publishing(mosquitto.port) as publisher:
        collector.wait_for_event("connected")
        for message in (b"not json {", b"[1]", b'{"detectorId":"\xff"}', json.dumps([reading, other]).encode()):
            publisher.publish(topic, message)
        publisher.settle()
        wait_for(lambda: len(list(spooled(data))) == 5)
        ended(collector)
        assert collector.heartbeat()["servers"]["fire_detection/live"]["malformed"] == 3
    pull(smoke(), until=NOW)
    build(data, "base_fire_detection__smoke_reading", "stg_fire_detection__smoke_reading", "quarantine__fire_detection__smoke_reading")
    assert query(data, "select count(*) from staging.stg_fire_detection__smoke_reading") == [(2,)]
    rules = query(data, "select distinct _broken_rules from base.base_fire_detection__smoke_reading where _broken_rules is not null")
    assert rules == [("row:malformed",)]
    frame = pl.read_parquet(Landing().newest("fire_detection", "smoke_reading").parts)  # type: ignore[union-attr]
    assert sorted(frame["_malformed"].drop_nulls()) == ["1", "not json {", '{"detectorId":"\\xff"}']


@needs_mosquitto
def test_ngsi_ld_in_all_its_shapes_is_staged_alike(mosquitto: Mosquitto, data: Path) -> None:
    plain = {"id": "urn:r:1", "type": "FloodMonitoring", "refDevice": "a", "dateObserved": "2026-10-01T00:00:00Z", "waterLevel": 1}
    normalised = {
        "id": "urn:r:2", "type": "FloodMonitoring", "refDevice": {"type": "Relationship", "object": "b"},
        "dateObserved": {"type": "Property", "value": "2026-10-01T00:00:00Z"},
        "waterLevel": {"type": "Property", "value": 1, "unitCode": "MTR"},
    }  # fmt: skip
    version_2 = {**plain, "id": "urn:r:3", "refDevice": {"type": "Text", "value": "c"}, "waterLevel": {"type": "Number", "value": 1}}
    notified = {"id": "urn:n", "type": "Notification", "data": [{**plain, "refDevice": "d"}, {**normalised, "refDevice": "e"}]}
    settings = {"SSC_WATERLOGGING_LIVE_URL": f"mqtt://{USER}@127.0.0.1:{mosquitto.port}", "SSC_WATERLOGGING_LIVE_PASSWORD": PASSWORD}
    with collecting(data, **settings) as collector, publishing(mosquitto.port) as publisher:
        collector.wait_for_event("connected")
        for message in (plain, normalised, version_2, notified):
            publisher.publish("waterlogging/water_level/x", message)
        publisher.settle()
        wait_for(lambda: len(list(spooled(data))) == 5)
        ended(collector)
    entity = next(of for of in load_catalogue()["waterlogging"].entity("water_level").deliveries if of.server.delivery == "stream")
    pull(entity, until=NOW)
    build(data, "base_waterlogging__water_level", "stg_waterlogging__water_level")
    staged = query(data, "select device_id, observed_at, water_level_m from staging.stg_waterlogging__water_level order by 1")
    assert staged == [(device, datetime(2026, 10, 1), 1.0) for device in "abcde"]


# ------------------------------------------------------------------------------------------------------------ being refused


@needs_mosquitto
def test_a_wrong_password_is_one_clear_sentence(mosquitto: Mosquitto, data: Path) -> None:
    with collecting(data, **of_fire(mosquitto.port, SSC_FIRE_DETECTION_LIVE_PASSWORD="wrong")) as collector:
        fault = collector.wait_for_event("fault")
        assert "refuses the connection (Not authorized)" in fault["what"] and "SSC_FIRE_DETECTION_LIVE_PASSWORD" in fault["next_step"]
        wait_for(lambda: collector.heartbeat()["servers"].get("fire_detection/live", {}).get("fault"))
        with pytest.raises(PullError, match=r"fire_detection/smoke_reading: the collector: .*refuses the connection"):
            pull(smoke(), until=NOW)
        ended(collector)


def test_a_subscription_that_is_refused_is_one_clear_sentence(tmp_path: Path, data: Path) -> None:
    broker = Amqtt(tmp_path / "broker")
    broker.more = {
        "amqtt.plugins.topic_checking.TopicAccessControlListPlugin": {
            "acl": {USER: ["fire_detection/smoke_reading/+"]},
        }
    }
    with running(broker), collecting(data, **of_fire(broker.port)) as collector:
        fault = collector.wait_for_event("fault", 60)
        assert "refuses the subscription to fire_detection/fire_alarm/+" in fault["what"] and "read this topic" in fault["next_step"]
        ended(collector)


@needs_mosquitto
def test_two_collectors_do_not_share_a_data_folder(mosquitto: Mosquitto, data: Path) -> None:
    with collecting(data, **of_fire(mosquitto.port)) as first, collecting(data, start=False, **of_fire(mosquitto.port)) as second:
        first.wait_for_event("connected")
        second.start()
        assert second.process and second.process.wait(30) == 1
        second.process = None
        assert "another collector is running on this data folder" in second.log.read_text()


@needs_mosquitto
def test_certificates_are_verified(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=broker"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run([*make, *names], cwd=folder, check=True, capture_output=True)
    broker = Mosquitto(folder)
    broker.more = f"certfile {folder}/certificate.pem\nkeyfile {folder}/key.pem"
    settings = of_fire(broker.port, SSC_FIRE_DETECTION_LIVE_URL=f"mqtts://{USER}@127.0.0.1:{broker.port}")
    with running(broker), collecting(data, **settings) as collector:
        fault = collector.wait_for_event("fault")
        assert "is not trusted" in fault["what"] and "SSL_CERT_FILE" in fault["next_step"]
        ended(collector)
        collector.start(SSL_CERT_FILE=str(folder / "certificate.pem"))
        collector.wait_for_event("connected")
        ended(collector)


def test_without_any_address_it_says_so(data: Path) -> None:
    with collecting(data) as collector:
        assert collector.process and collector.process.wait(30) == 1
        collector.process = None
        assert "no server of messages has an address. Next: set SSC_<SYSTEM>_<SERVER>_URL" in collector.log.read_text()


# ------------------------------------------------------------------------------------------------------------ amqtt


def test_what_the_embedded_broker_loses_the_export_of_the_day_brings(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """amqtt sends nothing again that was not acknowledged when the collector died; the platform's daily export is authoritative."""
    export = tmp_path / "export"
    export.mkdir()
    monkeypatch.setenv("SSC_FIRE_DETECTION_URL", export.as_uri())
    with running(Amqtt(tmp_path / "broker")) as broker, collecting(data, **of_fire(broker.port)) as collector:
        assert collector.wait_for_event("connected")["protocol"] == "3.1.1"
        send(broker, range(300))
        wait_until_spooled(data, 300)
        assert collector.process
        os.kill(collector.process.pid, signal.SIGSTOP)
        send(broker, range(300, 400))  # sent to the collector, which acknowledges nothing any more
        collector.kill()
        collector.start()
        collector.wait_for_event("connected", count=2)
        send(broker, range(400, 500))
        wait_until_spooled(data, 400)
        time.sleep(2.5)
        ended(collector)
    pull(smoke(), until=NOW - timedelta(hours=2))
    missing = set(keys(range(500))) - set(landed_keys())
    assert missing == set(keys(range(300, 400))), "what this broker does not send again"
    day = export / "smoke_reading_20261001.ndjson.gz"
    day.write_bytes(gzip.compress("".join(json.dumps(message) + "\n" for _, message in readings(range(500))).encode()))
    os.utime(day, (NOW.timestamp() - 5400,) * 2)
    assert pull(smoke("files"), until=NOW - timedelta(hours=1)).rows == 500
    assert_staged_once(data, range(500))
