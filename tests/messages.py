"""What tests and benchmarks of live messages need: real brokers on free loopback ports, a publisher, a wire that can be cut, the collector.

What is expected stands in the tests.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import paho.mqtt.client as mqtt

from sources.settings import root

USER, PASSWORD = "collector", "only for this test"
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_for(seen: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """What ``seen`` returns once it is true; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or seen}"
        time.sleep(0.02)
    return found


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


# ------------------------------------------------------------------------------------------------------------ brokers


@dataclass
class Broker:
    """A broker as a process of its own, with a password, that can be killed and started again on the same port and data."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=subprocess.STDOUT, cwd=self.folder)
        wait_for(lambda: answers(self.port), what=f"the broker's port; see {self.folder}/broker.log")

    def kill(self, sign: int = signal.SIGKILL) -> None:
        if self.process:
            self.process.send_signal(sign)
            self.process.wait(30)
            self.process = None


class Mosquitto(Broker):
    """Eclipse Mosquitto as an operator would set it up: a password file, persistence, otherwise its defaults (20 messages in flight).

    It keeps what it has promised in memory and saves it every half hour; ``saves``: at every change, so that it can be killed.
    """

    saves = False
    more = ""

    def command(self) -> list[str]:
        assert MOSQUITTO
        passwords = self.folder / "passwords"
        if not passwords.exists():
            for name in (USER, "publisher"):
                subprocess.run(
                    ["mosquitto_passwd", *(["-c"] if not passwords.exists() else []), "-b", passwords, name, PASSWORD], check=True
                )
        (self.folder / "mosquitto.conf").write_text(
            textwrap.dedent(f"""\
                user {getpass.getuser()}
                listener {self.port} 127.0.0.1
                allow_anonymous false
                password_file {passwords}
                persistence true
                persistence_location {self.folder}/
                autosave_on_changes {"true" if self.saves else "false"}
                autosave_interval {1 if self.saves else 1800}
                max_queued_messages 0
                log_type warning
                log_type notice
                {self.more}
                """)
        )
        return [MOSQUITTO, "-c", str(self.folder / "mosquitto.conf")]


AMQTT = """
import asyncio, logging, sys
from amqtt.broker import Broker
logging.basicConfig(level=logging.ERROR)

async def serve(port, plugins):
    await Broker({"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}, "plugins": plugins}).start()
    await asyncio.Event().wait()

import json
asyncio.run(serve(int(sys.argv[1]), json.loads(sys.argv[2])))
"""


class Amqtt(Broker):
    """The broker that comes as a Python package, as the reference district embeds it."""

    more: Mapping[str, Any] = MappingProxyType({})

    def command(self) -> list[str]:
        from pwdlib.hashers.argon2 import Argon2Hasher

        passwords = self.folder / "passwords"
        passwords.write_text("".join(f"{name}:{Argon2Hasher().hash(PASSWORD)}\n" for name in (USER, "publisher")))
        plugins = {"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(passwords)}, **self.more}
        return [sys.executable, "-c", AMQTT, str(self.port), json.dumps(plugins)]


@contextlib.contextmanager
def running(broker: Broker) -> Iterator[Any]:
    """The broker, started, until the block ends."""
    broker.folder.mkdir(parents=True, exist_ok=True)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


class Publisher:
    """A device platform: publishes at QoS 1 and knows what the broker has acknowledged; tries again over a broker's restart."""

    def __init__(self, port: int) -> None:
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="platform", protocol=mqtt.MQTTv311, clean_session=False)
        self.client.username_pw_set("publisher", PASSWORD)
        self.client.reconnect_delay_set(1, 1)
        self.client.max_inflight_messages_set(100)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.sent: list[mqtt.MQTTMessageInfo] = []

    def publish(self, topic: str, message: Any, *, qos: int = 1, retain: bool = False) -> mqtt.MQTTMessageInfo:
        payload = message if isinstance(message, bytes) else json.dumps(message, ensure_ascii=False).encode()
        info = self.client.publish(topic, payload, qos, retain)
        self.sent.append(info)
        return info

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until the broker has taken everything."""
        deadline = time.monotonic() + seconds
        for info in self.sent:
            info.wait_for_publish(max(0.1, deadline - time.monotonic()))
            assert info.is_published(), "the broker did not take a message"
        self.sent.clear()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def publishing(port: int) -> Iterator[Publisher]:
    publisher = Publisher(port)
    try:
        yield publisher
    finally:
        publisher.close()


class Wire:
    """A TCP way to a port that can be cut: connections break, and nobody answers, until it is mended."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.is_cut = self.is_closed = False
        self.ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self.is_closed:
            try:
                near, _ = self.listener.accept()
                if self.is_cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                continue
            self.ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := one.recv(65536):
                if self.is_cut:  # what is under way is lost with it
                    break
                other.sendall(block)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self.is_cut = True
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.ends.clear()

    def mend(self) -> None:
        self.is_cut = False

    def close(self) -> None:
        self.is_closed = True
        self.cut()
        self.listener.close()


# ------------------------------------------------------------------------------------------------------------ the collector


@dataclass
class Collector:
    """``python -m sources.collector`` on a data folder, with the settings given; can be killed and started again."""

    data: Path
    settings: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.data / "logs" / "collector.log"

    def start(self, **settings: str) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SSC_")}
        environment = {**inherited, "PYTHONPATH": str(root()), "SSC_DATA": str(self.data), **self.settings, **settings}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sources.collector"], cwd=root(), env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def kill(self, sign: int = signal.SIGKILL) -> int:
        """End it; returns its exit code."""
        assert self.process
        self.process.send_signal(sign)
        code = self.process.wait(30)
        self.process = None
        return code

    def heartbeat(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.data / "spool" / "collector.json").read_text())
        return {"servers": {}}

    def events(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]

    def wait_for_event(self, name: str, seconds: float = 40.0, *, count: int = 1) -> dict[str, Any]:
        """The count-th line of its log with this event."""

        def seen() -> dict[str, Any] | None:
            found = [event for event in self.events() if event["event"] == name]
            return found[count - 1] if len(found) >= count else None

        return wait_for(seen, seconds, f"{name} in {self.log}: {self.log.read_text()[-2000:] if self.log.exists() else ''}")


@contextlib.contextmanager
def collecting(data: Path, *, start: bool = True, **settings: str) -> Iterator[Collector]:
    collector = Collector(data, settings)
    try:
        if start:
            collector.start()
        yield collector
    finally:
        if collector.process:
            collector.kill()


def spooled(data: Path) -> Iterator[dict[str, str]]:
    """Every row in the spool, of closed and open segments."""
    for path in sorted((data / "spool").rglob("*.ndjson")) + sorted((data / "spool").rglob("*.open")):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError):  # the torn end of an open one
                yield json.loads(line)


def readings(numbers: Iterable[int]) -> list[tuple[str, dict[str, Any]]]:
    """Topics and messages of smoke detectors: one reading for each number, no two with the same key."""
    return [
        (
            f"fire_detection/smoke_reading/D{number % 50:03d}",
            {
                "detectorId": f"D{number % 50:03d}",
                "time": f"2026-10-01T{number // 3000 % 24:02d}:{number // 50 % 60:02d}:00+08:00",
                "smokePct": number % 20,
                "tempC": 25,
            },
        )
        for number in numbers
    ]
