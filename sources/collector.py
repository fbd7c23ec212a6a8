"""The collector: a process of its own that takes messages from the systems' MQTT brokers into the spool. ``make collect`` runs it.

A message is acknowledged after its rows are on the disk and not before; what is not acknowledged, the broker sends again. So whatever
is killed or cut, a row may come twice and none is missing; staging makes one of two by primary key. Where its rows go next belongs in
``connectors/stream.py``, what a segment is in ``spool.py``.

For each server of messages with an address (``SSC_<SYSTEM>_<SERVER>_URL``: ``mqtt://user@host:port``, ``mqtts://`` with the
certificate verified; password in ``SSC_<SYSTEM>_<SERVER>_PASSWORD``) there is one thread with one connection: MQTT 5, or 3.1.1 where
the broker knows no better, QoS 1, a session that the broker keeps while the collector is away.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import select
import signal
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from sources import spool
from sources.catalogue import Entity, Server, System, load_catalogue
from sources.connectors.stream import servers
from sources.connectors.text import as_text, parse
from sources.errors import SscError
from sources.landing import Landing
from sources.protect import check_key, identifier_key, is_protected, keyed_hash
from sources.settings import of_system, written_once

FLUSH_MESSAGES = 500
FLUSH_SECONDS = 0.25
WAITING_MESSAGES = 5_000  # held in memory at most while the disk takes nothing; then the broker must wait
RECEIVE_MAXIMUM = 200  # messages that we take without having acknowledged one; a broker may hand out fewer (Mosquitto: 20)
SESSION_SECONDS = 7 * 86400
KEEP_ALIVE_SECONDS = 20
ANSWER_SECONDS = 5.0  # a broker that does not know the version may hang up, or say nothing
BACK_OFF_SECONDS = (1.0, 30.0)
BEAT_SECONDS, SAY_SECONDS = 5.0, 60.0
MALFORMED = "_malformed"
RESERVED = {MALFORMED, "_load_id", "_row"}  # ours in a load


# ------------------------------------------------------------------------------------------------------------ messages


def rows_of(entity: Entity, payload: bytes, key: bytes) -> list[dict[str, str | None]]:
    """The rows of one message: of an object, of a list of objects, or of the ``data`` of an NGSI notification.

    Values are the text that was sent, nested ones JSON text; identifiers are hashed. What is no record becomes a row that holds it
    whole as ``_malformed``.
    """
    try:
        sent = parse(payload.decode(entity.server.encoding))
        rows = [_row(entity, record, key) for record in _records(entity, sent)]
        json.dumps(rows, ensure_ascii=False).encode()  # half a character (a lone surrogate) is no text
    except (ValueError, RecursionError):  # UnicodeError is a ValueError
        rows = [_malformed(entity, _readable(entity, payload), key)]
    return rows


def _readable(entity: Entity, payload: bytes) -> str:
    """Any bytes as text; those outside the encoding stay readable as \\xNN."""
    return payload.decode(entity.server.encoding, errors="backslashreplace")


def _records(entity: Entity, sent: Any) -> list[Any]:
    if isinstance(sent, list):
        return sent
    is_notification = isinstance(sent, dict) and (sent.get("type") == "Notification" or "subscriptionId" in sent)  # NGSI-LD, NGSI v2
    if is_notification and isinstance(sent.get("data"), list) and "data" not in entity.source_names:
        return list(sent["data"])
    return [sent]


def _row(entity: Entity, record: Any, key: bytes) -> dict[str, str | None]:
    if not isinstance(record, dict) or RESERVED & record.keys():
        return _malformed(entity, as_text(record) or "null", key)
    return {name: _protected(entity, name, as_text(value), key) for name, value in record.items()}


def _malformed(entity: Entity, text: str, key: bytes) -> dict[str, str | None]:
    return {MALFORMED: _protected(entity, MALFORMED, text, key)}


def _protected(entity: Entity, name: str, value: str | None, key: bytes) -> str | None:
    return keyed_hash(value, key) if is_protected(entity, name) else value


def entity_of(topic: str, entities: list[Entity]) -> Entity:
    """The entity whose topic filter matches; of a topic that none matches, the one whose filter goes the longest way with it."""

    def together(entity: Entity) -> tuple[bool, int]:
        pairs = zip(entity.source.split("/"), topic.split("/"), strict=False)
        levels = 0
        for wanted, sent in pairs:
            if wanted not in (sent, "+", "#"):
                break
            levels += 1
        return mqtt.topic_matches_sub(entity.source, topic), levels

    return max(entities, key=together)


# ------------------------------------------------------------------------------------------------------------ one server


@dataclass
class State:
    """How a server's connection is, for the heartbeat. ``fault`` is what a person must mend, with ``next_step``."""

    address: str
    connected: bool = False
    since: str = ""
    protocol: str = ""
    fault: str = ""
    next_step: str = ""
    last_message_at: str = ""
    messages: int = 0
    malformed: int = 0
    rows: dict[str, int] = field(default_factory=dict)

    def turn(self, connected: bool) -> None:
        if connected != self.connected or not self.since:
            self.connected, self.since = connected, _now()


@dataclass
class Received:
    """The lines of a message that are not on the disk yet, and what acknowledges it: its number, which means nothing on another
    connection."""

    entity: str
    lines: list[bytes]
    number: int
    qos: int
    connection: int


class Feed:
    """The messages of one server: connects, writes, acknowledges, until it is told to stop. Everything happens in one thread.

    Raises:
        SscError: the address is none.
    """

    def __init__(self, system: System, server: Server, address: str, say: Say) -> None:
        self.name = f"{system.id}/{server.name}"
        self.variable = f"SSC_{system.id.upper()}_{server.setting.upper()}"
        self.entities = [of for entity in system.entities for of in entity.deliveries if of.server == server]
        parts = urlsplit(address)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == 0 or not self.entities:
            raise SscError(
                "this is no address of an MQTT broker", where=f"{self.variable}URL", next_step="write mqtt://user@host:port or mqtts://…"
            )
        if parts.password:
            raise SscError(
                "a password stands in the address", where=f"{self.variable}URL", next_step=f"take it out, and set {self.variable}PASSWORD"
            )
        self.is_encrypted = parts.scheme == "mqtts"
        self.host, self.port = parts.hostname, port or (8883 if self.is_encrypted else 1883)
        self.user = unquote(parts.username or "")
        self.password = of_system(system.id, f"{server.setting}password", required=False)
        id_file = spool.spool_dir() / system.id / server.name / spool.CLIENT_ID
        self.has_session = id_file.exists()
        self.client_id = written_once(id_file, f"ssc-{secrets.token_hex(8)}")
        self.say = say
        if self.password and not self.is_encrypted and self.host not in ("127.0.0.1", "::1", "localhost"):
            say("not encrypted", self.name, level="warning", what="the password crosses the network in clear", next_step="use mqtts://")
        self.receive_maximum = _receive_maximum()
        self.state = State(f"{parts.scheme}://{self.host}:{self.port}", rows={entity.name: 0 for entity in self.entities})
        self.key = identifier_key() if any(entity.identifiers for entity in self.entities) else b""
        landing = Landing()
        if self.key:
            check_key(landing.folder, self.key)
        name = "" if server.is_first else server.name
        self.segments = {
            entity.name: spool.Segments(
                spool.folder(system.id, server.name, entity.name), landing.cursor(system.id, entity.name, name) or 0
            )
            for entity in self.entities
        }
        self.waiting: list[Received] = []
        self.waits_since = 0.0
        self.connection = 0
        self.speaks_5 = True
        self.disk_is_full = False
        self.refusal: tuple[str, str] | None = None
        self.unreachable = ""

    # -- the way of a connection

    def run(self, stop: threading.Event) -> None:
        """Stay connected until ``stop``; then write, acknowledge and close what there is."""
        pause = BACK_OFF_SECONDS[0]
        self.state.turn(False)
        while not stop.is_set():
            began = time.monotonic()
            try:
                self._connection(stop)
            except Exception as error:  # one broker's trouble must not end the others
                self._fault(f"{type(error).__name__}: {error}", "report this with the collector's log")
            self.state.turn(False)
            if time.monotonic() - began > 2 * BACK_OFF_SECONDS[1]:  # it stood for a while
                pause = BACK_OFF_SECONDS[0]
            ends = time.monotonic() + pause * (0.75 + secrets.randbelow(50) / 100)
            while not stop.is_set() and (left := ends - time.monotonic()) > 0:
                self._tidy(None)
                stop.wait(min(0.2, left))
            pause = min(pause * 2, BACK_OFF_SECONDS[1])
        self._tidy(None)
        for segment in self.segments.values():
            with contextlib.suppress(OSError):  # it stays open and is taken over at the next start
                segment.close()

    def _connection(self, stop: threading.Event) -> None:
        """One connection from its beginning to its end."""
        self.connection += 1
        self.refusal = None
        is_5 = self.speaks_5
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=mqtt.MQTTv5 if is_5 else mqtt.MQTTv311,
            clean_session=None if is_5 else False,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        if self.is_encrypted:
            client.tls_set_context(ssl.create_default_context())
        if self.user:
            client.username_pw_set(self.user, self.password)
        answered = threading.Event()
        subscribed: dict[int, list[Entity]] = {}

        def on_connect(_: Any, __: Any, flags: Any, reason: Any, properties: Any) -> None:
            answered.set()
            if reason.is_failure:
                if "protocol version" in str(reason).lower():
                    self.speaks_5 = False
                else:
                    self.refusal = (
                        f"{self.state.address} refuses the connection ({reason})",
                        f"check the user in {self.variable}URL and {self.variable}PASSWORD with the department",
                    )
                return
            if self.has_session and not flags.session_present:
                self.say(
                    "session not kept", self.name, level="warning", what="the broker had forgotten us; what was sent meanwhile is not here",
                    next_step="the export of the system brings it, if it has one",
                )  # fmt: skip
            self.has_session = True
            for entity in self.entities:
                options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
                mid = client.subscribe(entity.source, options=options)[1] if is_5 else client.subscribe(entity.source, qos=1)[1]
                subscribed[int(mid or 0)] = [entity]

        def on_subscribe(_: Any, __: Any, mid: int, reasons: list[Any], properties: Any) -> None:
            for entity, reason in zip(subscribed.pop(mid, []), reasons, strict=False):
                if reason.is_failure or reason.value != 1:
                    granted = f"({reason})" if reason.is_failure else f"at QoS 1 ({reason}): what is sent while we are away would be lost"
                    self.refusal = (
                        f"{self.state.address} refuses the subscription to {entity.source} {granted}",
                        f"have the department let the user {self.user or '(none)'} read this topic at QoS 1",
                    )
            if not subscribed and not self.refusal:
                self.state.protocol = "5" if is_5 else "3.1.1"
                self.state.turn(True)
                self.unreachable = ""
                self._mended("connected", protocol=self.state.protocol)

        def on_disconnect(_: Any, __: Any, flags: Any, reason: Any, properties: Any) -> None:
            if flags.is_disconnect_packet_from_server and reason.value == 142:
                self.refusal = (
                    f"another client has taken over the session {self.client_id}",
                    "end the other collector; a copied data folder needs a client id of its own: remove client_id from its spool",
                )

        def on_message(_: Any, __: Any, message: mqtt.MQTTMessage) -> None:
            if not self.waiting:
                self.waits_since = time.monotonic()
            self.waiting.append(self._received(message))
            self.state.messages += 1
            self.state.last_message_at = _now()

        client.on_connect, client.on_disconnect = on_connect, on_disconnect
        client.on_subscribe, client.on_message = on_subscribe, on_message
        try:
            if is_5:
                properties = Properties(PacketTypes.CONNECT)
                properties.SessionExpiryInterval = SESSION_SECONDS
                properties.ReceiveMaximum = self.receive_maximum
                client.connect(self.host, self.port, KEEP_ALIVE_SECONDS, clean_start=False, properties=properties)
            else:
                client.connect(self.host, self.port, KEEP_ALIVE_SECONDS)
        except ssl.SSLCertVerificationError as error:
            self._fault(
                f"the certificate of {self.state.address} is not trusted ({error.verify_message})",
                "check the address; for an authority of the department's own, name its certificate in SSL_CERT_FILE",
            )
            return
        except OSError as error:
            if str(error) != self.unreachable:  # it may be away for long: say it once
                self.say("no connection", self.name, level="warning", reason=str(error))
            self.unreachable = str(error)
            return
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            while client.socket() is not None and not stop.is_set() and not self.refusal:
                self._turn(client)
                if not answered.is_set() and time.monotonic() > deadline:
                    break
            if client.socket() is not None:
                self._tidy(client)
        finally:
            client.disconnect()
        self._tidy(None)
        if self.refusal:
            self._fault(*self.refusal)
        elif not answered.is_set() and not stop.is_set():
            self.speaks_5 = not self.speaks_5
            self.say("no answer", self.name, next_protocol="5" if self.speaks_5 else "3.1.1")
        elif not stop.is_set() and self.state.connected:
            self.say("connection lost", self.name)

    def _turn(self, client: mqtt.Client) -> None:
        """Read what has come; write it when no more is waiting (the broker may hand out no more before), or enough has come."""
        reading = client.socket()
        if reading is None:
            return
        takes_more = len(self.waiting) < WAITING_MESSAGES
        pending = takes_more and isinstance(reading, ssl.SSLSocket) and reading.pending() > 0
        seconds = 0.0 if self.waiting or pending else 0.2
        if self.disk_is_full:  # no use in trying without a pause
            seconds = 0.2
        readable, writable, _ = select.select([reading] if takes_more else [], [reading] if client.want_write() else [], [], seconds)
        if readable or pending:
            client.loop_read()
        if writable:
            client.loop_write()
        client.loop_misc()
        is_quiet = not readable and not pending
        if is_quiet or len(self.waiting) >= FLUSH_MESSAGES or time.monotonic() - self.waits_since > FLUSH_SECONDS:
            self._tidy(client)

    # -- from memory to disk

    def _received(self, message: mqtt.MQTTMessage) -> Received:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        entity = entity_of(topic, self.entities)
        if mqtt.topic_matches_sub(entity.source, topic):
            rows = rows_of(entity, message.payload, self.key)
        else:
            rows = [_malformed(entity, _readable(entity, message.payload), self.key)]
        self.state.malformed += sum(MALFORMED in row for row in rows)
        lines = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]
        return Received(entity.name, lines, message.mid, message.qos, self.connection)

    def _tidy(self, client: mqtt.Client | None) -> None:
        """Write what waits, then acknowledge it if it came on this connection; close segments whose time has come.

        A disk that takes nothing is said; what waits goes on waiting.
        """
        try:
            for name, segments in self.segments.items():
                mine = [received for received in self.waiting if received.entity == name and received.lines]
                if mine:
                    lines = [line for received in mine for line in received.lines]
                    segments.append(lines)
                    self.state.rows[name] += len(lines)
                    for received in mine:
                        received.lines = []
                segments.close_when_due()
        except OSError as error:
            self.disk_is_full = True
            self._fault(
                f"cannot write to {spool.spool_dir()} ({error.strerror}); nothing is acknowledged until it can",
                "make room on that disk; the messages wait at the broker",
            )
            return
        if self.disk_is_full:
            self.disk_is_full = False
            self._mended("written again")
        written, self.waiting = self.waiting, []
        for received in written:  # in the order in which they came, as the protocol has it
            if client and received.connection == self.connection:
                client.ack(received.number, received.qos)

    # -- saying so

    def _fault(self, what: str, next_step: str) -> None:
        if what != self.state.fault:
            self.say("fault", self.name, level="error", what=what, next_step=next_step)
        self.state.fault, self.state.next_step = what, next_step

    def _mended(self, event: str, **facts: str) -> None:
        self.state.fault = self.state.next_step = ""
        self.say(event, self.name, **facts)


# ------------------------------------------------------------------------------------------------------------ the process


class Say:
    """The log: one JSON object to a line."""

    def __init__(self, to: TextIO) -> None:
        self.to, self.one = to, threading.Lock()

    def __call__(self, event: str, server: str = "", *, level: str = "info", **facts: Any) -> None:
        line = {"at": _now(), "level": level, "event": event} | ({"server": server} if server else {}) | facts
        with self.one, contextlib.suppress(OSError, ValueError):  # a log that cannot be written must not stop the messages
            print(json.dumps(line, ensure_ascii=False), file=self.to, flush=True)


def _receive_maximum() -> int:
    text = os.environ.get("SSC_COLLECTOR_RECEIVE_MAXIMUM") or str(RECEIVE_MAXIMUM)
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise SscError(f"{text!r} is no number of messages", where="SSC_COLLECTOR_RECEIVE_MAXIMUM", next_step="write one from 1 to 65535")
    return int(text)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def collect(feeds: list[Feed], stop: threading.Event, say: Say) -> None:
    """Run the feeds until ``stop``, with a heartbeat every few seconds and a line of counts every minute."""
    threads = [threading.Thread(target=feed.run, args=(stop,), name=feed.name) for feed in feeds]
    for thread in threads:
        thread.start()
    said, counted = time.monotonic(), {feed.name: 0 for feed in feeds}
    while not stop.is_set():
        _beat(feeds, say)
        if time.monotonic() - said >= SAY_SECONDS:
            said = time.monotonic()
            for feed in feeds:
                state, fresh = feed.state, feed.state.messages - counted[feed.name]
                counted[feed.name] = feed.state.messages
                say("counts", feed.name, connected=state.connected, messages=fresh, rows=state.rows, malformed=state.malformed)
        stop.wait(BEAT_SECONDS)
    for thread in threads:
        thread.join()
    _beat(feeds, say, ended=True)


def _beat(feeds: list[Feed], say: Say, **facts: Any) -> None:
    try:
        spool.beat({feed.name: vars(feed.state) for feed in feeds}, process=os.getpid(), **facts)
    except OSError as error:
        say("no heartbeat", level="error", what=str(error))


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Raises SscError where another collector writes to this spool."""
    path: Path = spool.spool_dir() / ".collector.lock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SscError(
                "another collector is running on this data folder", where=str(path.parent), next_step="end it first, or let it run"
            ) from None
        yield


def main() -> int:
    """Collect until a TERM or Ctrl-C; returns the exit code."""
    say, stop = Say(sys.stdout), threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        found = servers(load_catalogue())
        if not found:
            raise SscError(
                "no server of messages has an address",
                where="collector",
                next_step="set SSC_<SYSTEM>_<SERVER>_URL of a system whose delivery is stream, see `make catalogue`",
            )
        with _alone():
            feeds = [Feed(system, server, address, say) for system, server, address in found]
            say("started", servers=[feed.name for feed in feeds], process=os.getpid())
            collect(feeds, stop, say)
            say("ended", messages=sum(feed.state.messages for feed in feeds))
    except SscError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(SscError(str(error), where=str(spool.spool_dir()), next_step="mend the folder or its disk, and start again"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
