"""What the collector makes of a message, and that nothing it writes is lost between memory, segment and load. No broker here."""

from __future__ import annotations

import io
import json
import os
import resource
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sources import spool
from sources.catalogue import Entity, load_catalogue
from sources.collector import Feed, Say, entity_of, rows_of
from sources.connectors import pull
from sources.connectors.stream import GRACE, servers
from sources.errors import PullError, SscError
from sources.landing import Landing, Manifest
from sources.protect import identifier_key, keyed_hash

T1 = datetime(2026, 10, 1, tzinfo=UTC)
T2, T3 = T1 + timedelta(minutes=1), T1 + timedelta(minutes=2)


def live(system: str, entity: str) -> Entity:
    return next(of for of in load_catalogue()[system].entity(entity).deliveries if of.server.delivery == "stream")


@pytest.fixture
def smoke() -> Entity:
    return live("fire_detection", "smoke_reading")


@pytest.fixture
def level() -> Entity:
    return live("waterlogging", "water_level")


def rows(entity: Entity, sent: str | bytes) -> list[dict[str, str | None]]:
    return rows_of(entity, sent.encode() if isinstance(sent, str) else sent, b"key")


# ------------------------------------------------------------------------------------------------------------ messages


def test_an_object_keeps_the_text_that_was_sent(smoke: Entity) -> None:
    sent = '{"detectorId":"D1","smokePct":3.10,"tempC":1e2,"ok":true,"note":null,"at":{"x":[1.50]}}'
    assert rows(smoke, sent) == [{"detectorId": "D1", "smokePct": "3.10", "tempC": "1e2", "ok": "true", "note": None, "at": '{"x":[1.50]}'}]


def test_a_list_is_a_row_each_and_an_empty_one_is_none(smoke: Entity) -> None:
    assert rows(smoke, '[{"detectorId":"a"},{"detectorId":"b"},7]') == [{"detectorId": "a"}, {"detectorId": "b"}, {"_malformed": "7"}]
    assert rows(smoke, "[]") == []


@pytest.mark.parametrize("envelope", ['"id":"urn:1","type":"Notification"', '"subscriptionId":"5f"'])
def test_a_notification_is_its_data(level: Entity, envelope: str) -> None:
    sent = f'{{{envelope},"data":[{{"refDevice":"a","waterLevel":0.50}},{{"refDevice":"b"}}]}}'
    assert rows(level, sent) == [{"refDevice": "a", "waterLevel": "0.50"}, {"refDevice": "b"}]


def test_data_that_is_no_notification_is_a_field(level: Entity) -> None:
    assert rows(level, '{"refDevice":"a","data":[1]}') == [{"refDevice": "a", "data": "[1]"}]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"not json {", "not json {"),
        (b"", ""),
        (b'{"a":1', '{"a":1'),
        (b'{"a":"\xff"}', '{"a":"\\xff"}'),
        (b"17", "17"),
        (b'{"a":"\\ud800"}', '{"a":"\\ud800"}'),  # half a character
        (b"[" * 100_000, "[" * 100_000),
        (b'{"_row":5,"detectorId":"a"}', '{"_row":5,"detectorId":"a"}'),  # a name that is ours
    ],
)
def test_what_is_no_record_is_kept_whole(smoke: Entity, sent: bytes, kept: str) -> None:
    assert rows(smoke, sent) == [{"_malformed": kept}]


def test_identifiers_are_hashed_and_so_is_what_nobody_knows() -> None:
    people = load_catalogue()["grid_management"].entity("resident")
    name = people.identifiers[0]
    [row] = rows(people, json.dumps({name: " 44030119900101123x", "unheard_of": "13800000000"}))
    assert row == {name: keyed_hash("44030119900101123X", b"key"), "unheard_of": keyed_hash("13800000000", b"key")}
    [broken] = rows(people, f'{{"{name}":"44030119900101123X"')
    assert "440301" not in json.dumps(broken) and set(broken) == {"_malformed"}


def test_the_encoding_of_the_server_holds(smoke: Entity) -> None:
    chinese = replace(smoke, server=replace(smoke.server, encoding="GB18030"))
    assert rows_of(chinese, '{"name":"福田"}'.encode("gb18030"), b"") == [{"name": "福田"}]


def test_topics_find_their_entity(smoke: Entity) -> None:
    alarm = live("fire_detection", "fire_alarm")
    assert entity_of("fire_detection/fire_alarm/D1", [smoke, alarm]) is alarm
    assert entity_of("fire_detection/fire_alarm/D1/more", [smoke, alarm]) is alarm, "none matches; this one goes three levels with it"


def samples() -> list[Any]:
    """The sample messages of the Smart Data Models, as files."""
    folder = os.environ.get("SSC_TEST_PAYLOADS")
    if not folder:
        return [pytest.param(None, marks=pytest.mark.skip(reason="SSC_TEST_PAYLOADS names no folder of sample messages"))]
    return [pytest.param(path, id=f"{path.parent.name}-{path.name}") for path in sorted(Path(folder, "ngsi").rglob("*.json*"))]


@pytest.mark.parametrize("path", samples())
def test_sample_messages(path: Path, level: Entity) -> None:
    """Every sample is one record, and so is each of a notification that holds it twice; its values read as JSON again."""
    document = json.loads(path.read_bytes())
    [row] = rows(level, path.read_bytes())
    assert set(row) == set(document) and "_malformed" not in row
    for name, value in document.items():
        text = row[name]
        assert text == value if isinstance(value, str) else json.loads(text or "null") == value, name
    twice = json.dumps({"id": "urn:n", "type": "Notification", "data": [document, document]}).encode()
    assert [set(found) for found in rows(level, twice)] == [set(document)] * 2


# ------------------------------------------------------------------------------------------------------------ segments


def segments(entity: Entity) -> spool.Segments:
    return spool.Segments(spool.folder(entity.system, entity.server.name, entity.name))


def line(**fields: str) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def landed(manifest: Manifest) -> list[dict[str, Any]]:
    return [] if not manifest.parts else pl.read_parquet(manifest.parts).drop("_load_id").sort("_row").to_dicts()


def test_closed_segments_are_a_load_and_the_open_one_waits(smoke: Entity) -> None:
    writing = segments(smoke)
    writing.append([line(a="1"), line(a="2")])
    assert pull(smoke, until=T1).rows == 0
    writing.close()
    writing.append([line(b="3")])
    writing.close()
    writing.append([line(a="4")])
    manifest = pull(smoke, until=T2)
    assert landed(manifest) == [{"a": "1", "b": None, "_row": 0}, {"a": "2", "b": None, "_row": 1}, {"a": None, "b": "3", "_row": 2}]
    assert (manifest.window_since, manifest.server) == (T1.isoformat(), "live")
    assert spool.closed(writing.folder) == []
    writing.close()
    assert [row["a"] for row in landed(pull(smoke, until=T3))] == ["4"]


def test_many_segments_become_parts_of_bounded_size(smoke: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.connectors.stream.PART_BYTES", 20)
    writing = segments(smoke)
    for number in range(5):
        writing.append([line(a=str(number)), line(a=str(number))])
        writing.close()
    manifest = pull(smoke, until=T1)
    assert [(row["a"], row["_row"]) for row in landed(manifest)] == [(str(number // 2), number) for number in range(10)]
    assert len(manifest.parts) == 5


def test_a_pull_killed_before_the_segments_went_neither_loses_nor_doubles(smoke: Entity) -> None:
    writing = segments(smoke)
    writing.append([line(a="1")])
    writing.close()
    [segment] = spool.closed(writing.folder)
    kept = segment.read_bytes()
    pull(smoke, until=T1)
    segment.write_bytes(kept)  # as it lay there when the pull was killed
    writing.append([line(a="2")])
    writing.close()
    assert [row["a"] for row in landed(pull(smoke, until=T2))] == ["2"]
    assert spool.closed(writing.folder) == []


def test_numbers_go_on_where_the_last_load_ended_whatever_the_clock_says(smoke: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    writing = segments(smoke)
    writing.append([line(a="1")])
    writing.close()
    cursor = pull(smoke, until=T1).cursor_after
    monkeypatch.setattr("sources.spool.time.time_ns", lambda: 1_000)  # the machine woke up in 1970
    monkeypatch.setenv("SSC_FIRE_DETECTION_LIVE_URL", "mqtt://127.0.0.1")
    [(system, server, address)] = servers(load_catalogue())
    feed = Feed(system, server, address, Say(io.StringIO()))
    feed.segments["smoke_reading"].append([line(a="2")])
    feed.segments["smoke_reading"].close()
    [segment] = spool.closed(writing.folder)
    assert spool.number(segment) == cursor + 1
    assert [row["a"] for row in landed(pull(smoke, until=T2))] == ["2"]


@pytest.mark.parametrize("torn", [b'{"a":"3', b'{"a":\n', b"\0\0\0\n" + line(a="9")])
def test_what_a_killed_collector_left_open_is_taken_over_up_to_its_torn_end(smoke: Entity, torn: bytes) -> None:
    writing = segments(smoke)
    writing.append([line(a="1"), line(a="2")])
    with next(writing.folder.glob("*.open")).open("ab") as file:
        file.write(torn)
    segments(smoke)  # the next start
    assert [row["a"] for row in landed(pull(smoke, until=T1))] == ["1", "2"]
    assert not list(writing.folder.glob("*.open"))


def test_an_empty_open_segment_leaves_nothing(smoke: Entity) -> None:
    folder = spool.folder(smoke.system, smoke.server.name, smoke.name)
    folder.mkdir(parents=True)
    (folder / "000000000000000001.open").touch()
    segments(smoke)
    assert pull(smoke, until=T1).rows == 0 and not list(folder.glob("*.open")) and not spool.closed(folder)


def test_a_write_that_fails_leaves_what_was_safe_and_goes_on_in_another_segment(smoke: Entity) -> None:
    """The kernel refuses to let a file grow, which is as a full disk is."""
    writing = segments(smoke)
    writing.append([line(a="safe")])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (writing.size + 5, before[1]))
    try:
        with pytest.raises(OSError):
            writing.append([line(a="refused")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    [segment] = spool.closed(writing.folder)
    assert segment.read_bytes() == line(a="safe")
    writing.append([line(a="again")])
    writing.close()
    assert [row["a"] for row in landed(pull(smoke, until=T1))] == ["safe", "again"]


def test_a_segment_is_closed_by_rows_and_by_age(smoke: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "SEGMENT_ROWS", 2)
    writing = segments(smoke)
    writing.append([line(a="1")])
    writing.close_when_due()
    assert len(spool.closed(writing.folder)) == 0
    writing.append([line(a="2")])
    writing.close_when_due()
    assert len(spool.closed(writing.folder)) == 1
    writing.append([line(a="3")])
    monkeypatch.setattr(spool, "SEGMENT_SECONDS", 0.0)
    writing.close_when_due()
    assert len(spool.closed(writing.folder)) == 2


def test_only_the_owner_reads_the_spool(smoke: Entity) -> None:
    writing = segments(smoke)
    writing.append([line(a="1")])
    assert writing.path is not None and writing.path.stat().st_mode & 0o077 == 0
    assert spool.spool_dir().stat().st_mode & 0o077 == 0 and writing.folder.stat().st_mode & 0o077 == 0


def test_a_damaged_segment_is_named(smoke: Entity) -> None:
    writing = segments(smoke)
    writing.append([line(a="1")])
    writing.close()
    [segment] = spool.closed(writing.folder)
    segment.write_bytes(b"{\n")
    with pytest.raises(PullError, match=rf"fire_detection/smoke_reading .*{segment.name}.*damaged.*Next: .*export"):
        pull(smoke, until=T1)
    assert Landing().newest(smoke.system, smoke.name) is None


def test_a_stream_has_no_history(smoke: Entity) -> None:
    pull(smoke, until=T2)
    with pytest.raises(PullError, match=r"keeps no history\. Next: backfill from the system's export"):
        pull(smoke, since=T1, until=T2)


def test_messages_are_there_for_the_taking_whenever_they_are_asked_for(smoke: Entity) -> None:
    """A warehouse run takes them, however short a while ago the last one did."""
    first = pull(smoke, until=T1)
    assert pull(smoke, until=T1).load_id == first.load_id
    writing = segments(smoke)
    writing.append([line(a="1")])
    writing.close()
    assert pull(smoke, until=T1 + timedelta(seconds=20)).rows == 1


def test_a_schedule_that_ticks_early_asks_the_export_and_one_that_ticks_twice_does_not(
    smoke: Entity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSC_FIRE_DETECTION_URL", str(tmp_path))
    export = next(of for of in load_catalogue()[smoke.system].entity(smoke.name).deliveries if of.server.delivery == "files")
    assert export.server.frequency == timedelta(hours=1)
    first = pull(export, until=T1)
    assert pull(export, until=T1 + timedelta(minutes=20)).load_id == first.load_id
    assert pull(export, until=T1 + timedelta(minutes=50)).load_id != first.load_id


# ------------------------------------------------------------------------------------------------------------ heartbeat


def beat(at: datetime, *, ended: bool = False, **state: Any) -> None:
    whole = {"address": "mqtt://b:1", "connected": True, "since": at.isoformat(), "fault": "", "next_step": "", **state}
    spool.beat({"fire_detection/live": whole}, **({"ended": True} if ended else {}))
    path = spool.spool_dir() / spool.HEARTBEAT
    path.write_text(json.dumps({**json.loads(path.read_text()), "at": at.isoformat()}))


def test_without_a_collector_ever_there_is_an_empty_load(smoke: Entity) -> None:
    assert pull(smoke, until=T1).rows == 0


LONG_AGO = datetime(2026, 1, 1, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, r"the collector has not been seen since 2026-01-01 08:30 UTC.*Next: start it again"),
        ({"ended": True}, r"the collector was ended at 2026-01-01 08:30 UTC"),
    ],
)
def test_a_collector_that_is_gone_is_named_after_the_load_is_there(smoke: Entity, state: dict[str, Any], said: str) -> None:
    writing = segments(smoke)
    writing.append([line(a="1")])
    writing.close()
    beat(LONG_AGO, **state)
    with pytest.raises(PullError, match=f"fire_detection/smoke_reading: {said}"):
        pull(smoke, until=T1)
    newest = Landing().newest("fire_detection", "smoke_reading")
    assert newest is not None and newest.rows == 1 and spool.closed(writing.folder) == []


def test_a_collector_that_lost_its_broker_or_was_refused_is_named(smoke: Entity) -> None:
    now = datetime.now(UTC)
    beat(now)
    pull(smoke, until=T1)
    beat(now, connected=False, since=now.isoformat())
    pull(smoke, until=T2)  # it may find it again
    beat(now, connected=False, since=(now - 2 * GRACE).isoformat())
    with pytest.raises(PullError, match=r"not been connected to mqtt://b:1 since .*Next: check the broker.*SSC_FIRE_DETECTION_LIVE_URL"):
        pull(smoke, until=T3)
    beat(now, fault="refused", next_step="ask them")
    with pytest.raises(PullError, match=r"the collector: refused\. Next: ask them"):
        pull(smoke, until=T3 + timedelta(minutes=1))


def test_a_collector_that_does_not_know_the_server_is_named(smoke: Entity) -> None:
    spool.beat({})
    with pytest.raises(PullError, match=r"does not know the server fire_detection/live\. Next: restart"):
        pull(smoke, until=T1)


# ------------------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://broker", r"SSC_FIRE_DETECTION_LIVE_URL: this is no address of an MQTT broker\. Next: write mqtt://user@host:port"),
        ("mqtt://", "no address of an MQTT broker"),
        ("mqtt://broker:99999", "no address of an MQTT broker"),
        ("mqtt://me:secret@broker", r"a password stands in the address\. Next: take it out, and set SSC_FIRE_DETECTION_LIVE_PASSWORD"),
    ],
)
def test_addresses(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSC_FIRE_DETECTION_LIVE_URL", address)
    [(system, server, found)] = servers(load_catalogue())
    with pytest.raises(SscError, match=said) as error:
        Feed(system, server, found, Say(io.StringIO()))
    assert "secret" not in str(error.value)


def test_ports_and_a_client_id_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = set()
    for address, port in (("mqtt://a%40b@h", 1883), ("mqtts://h", 8883), ("mqtts://h:1", 1)):
        monkeypatch.setenv("SSC_FIRE_DETECTION_LIVE_URL", address)
        [(system, server, found)] = servers(load_catalogue())
        feed = Feed(system, server, found, Say(io.StringIO()))
        assert (feed.port, feed.is_encrypted) == (port, address.startswith("mqtts"))
        ids.add(feed.client_id)
    assert len(ids) == 1 and len(ids.pop()) <= 23  # as much as MQTT 3.1.1 lets every broker refuse beyond


def test_nothing_is_collected_where_no_stream_has_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert servers(load_catalogue()) == []
    monkeypatch.setenv("SSC_WATERLOGGING_URL", "file:///tmp")
    assert servers(load_catalogue()) == []


def test_the_key_of_the_hashes_is_one_for_all(smoke: Entity) -> None:
    assert len(identifier_key()) >= 32
