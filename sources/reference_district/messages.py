"""What the departments' platform sends while the clock runs: smoke readings and alarms, water levels and rain.

Belongs here: which messages fall into a step of the clock, how they look, and sending them. A reading is the same object as in
the export file of its day; some gauges of waterlogging send it inside an NGSI-LD notification. What reached the platform late
was never a message.
"""

from __future__ import annotations

import sys
import time
import zlib
from functools import lru_cache
from pathlib import Path

import orjson
import paho.mqtt.client as mqtt
import polars as pl
from paho.mqtt.enums import CallbackAPIVersion

from sources.reference_district import broker
from sources.reference_district.district import date_of, day_of, iso

LONGEST_STEP = 3600  # seconds; a longer step of the clock is a jump, in which nobody was listening
IN_FLIGHT = 20  # what brokers allow by default
WAIT_SECONDS = 60.0
NOTIFIED = 4  # one gauge in so many sends notifications
BUNDLE = 5  # readings in one notification at most
MOMENT = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00)"
VALUE = r'(?:\{"type":"Property","value":)?"'
STREAMS = {
    ("fire_detection", "smoke_reading"): (r'"detectorId":"([^"]+)"', rf'"time":"{MOMENT}"'),
    ("waterlogging", "water_level"): (rf'"refDevice":{VALUE}([^"]+)"', rf'"dateObserved":{VALUE}{MOMENT}"'),
    ("waterlogging", "rain_gauge"): (rf'"refDevice":{VALUE}([^"]+)"', rf'"dateObserved":{VALUE}{MOMENT}"'),
}
ALARM_STATES = "fire_alarm_states.parquet"


def within(folder: Path, before: int, to: int) -> list[tuple[str, str]]:
    """Topic and text of each message of a step (before, to], in the order in which they are sent.

    folder: a generated district.
    """
    found: list[pl.DataFrame] = []
    for (system, entity), patterns in STREAMS.items():
        for day in range(day_of(before), day_of(to) + 1):
            path = folder / system / f"{entity}_{date_of(day):%Y%m%d}.ndjson.gz"
            if path.exists():
                lines = _day(path, *patterns).filter((pl.col("moment") > iso(before)) & (pl.col("moment") <= iso(to)))
                if entity != "smoke_reading":
                    lines = _notified(lines, to)
                found.append(lines.with_columns(topic=pl.lit(f"{system}/{entity}/") + pl.col("device")).select("moment", "topic", "text"))
    alarms = pl.read_parquet(folder / ALARM_STATES).filter((pl.col("_updated") > before) & (pl.col("_updated") <= to))
    texts = [orjson.dumps(row).decode() for row in alarms.drop("_updated").to_dicts()]
    found.append(
        alarms.select(moment="updatedAt", topic=pl.lit("fire_detection/fire_alarm/") + pl.col("detectorId")).with_columns(
            pl.Series("text", texts, dtype=pl.Utf8)
        )
    )
    return pl.concat(found).sort("moment", "topic", "text").select("topic", "text").rows()


@lru_cache(maxsize=8)
def _day(path: Path, device: str, moment: str) -> pl.DataFrame:
    """The lines of one file whose time can be read: device, moment and text."""
    lines = pl.read_csv(path, has_header=False, separator="\x01", quote_char=None, new_columns=["text"], schema={"text": pl.Utf8})
    return lines.with_columns(device=pl.col("text").str.extract(device), moment=pl.col("text").str.extract(moment)).drop_nulls()


def _notified(lines: pl.DataFrame, to: int) -> pl.DataFrame:
    """Lines of gauges with the readings of one in four put into notifications, several of a step together."""
    names = lines["device"].unique()
    chosen = [name for name in names.to_list() if zlib.crc32(name.encode()) % NOTIFIED == 0]
    plain = lines.filter(~pl.col("device").is_in(chosen)).select("device", "moment", "text")
    bundles = []
    for (device,), mine in lines.filter(pl.col("device").is_in(chosen)).sort("moment").group_by("device", maintain_order=True):
        for part in mine.iter_slices(BUNDLE):
            last = str(part["moment"][-1])
            head = {
                "id": f"urn:ngsi-ld:Notification:{zlib.crc32(f'{device}{last}'.encode()):08x}",
                "type": "Notification",
                "subscriptionId": "urn:ngsi-ld:Subscription:waterlogging",
                "notifiedAt": last,
                "data": [orjson.Fragment(text) for text in part["text"]],
            }
            bundles.append({"device": str(device), "moment": last, "text": orjson.dumps(head).decode()})
    return pl.concat([plain, pl.DataFrame(bundles, schema=plain.schema)])


def publish(folder: Path, before: int | None, to: int) -> int:
    """Send the messages of a step, QoS 1, and wait until the broker has them all; returns their number.

    Nothing is sent where the clock jumped by more than an hour or went back, nor where no broker runs: then the export files
    are all there is, as with a platform that was down.
    """
    if before is None or not 0 < to - before <= LONGEST_STEP:
        return 0
    address = broker.known()
    messages = within(folder, before, to) if address else []
    if not address or not messages:
        return 0
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"platform-{zlib.crc32(f'{before}{time.time_ns()}'.encode()):08x}")
    client.username_pw_set(address.user, address.password)
    client.max_inflight_messages_set(IN_FLIGHT)
    refused: list[str] = []
    client.on_connect = lambda c, _u, _f, reason, _p: refused.append(str(reason)) if reason.is_failure else None
    try:
        client.connect(address.host, address.port)
    except OSError as error:
        _say(f"no broker at {address.url} ({error.strerror or error}): {len(messages)} messages were not sent")
        return 0
    client.loop_start()
    try:
        sent = [client.publish(topic, text, qos=1) for topic, text in messages]
        deadline = time.monotonic() + WAIT_SECONDS
        while not (refused or sent[-1].is_published()) and time.monotonic() < deadline:
            sent[-1].wait_for_publish(0.2)
        acknowledged = sum(info.is_published() for info in sent)
    finally:
        client.disconnect()
        client.loop_stop()
    if acknowledged < len(sent):
        reason = refused[0] if refused else f"not acknowledged within {WAIT_SECONDS:.0f} s"
        _say(f"{len(sent) - acknowledged} of {len(sent)} messages were not taken by {address.url} ({reason})")
    return acknowledged


def _say(text: str) -> None:
    print(f"reference district: {text}", file=sys.stderr, flush=True)
