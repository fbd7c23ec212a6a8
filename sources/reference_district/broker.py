"""The departments' message platform: an MQTT broker inside the serving process, or a real one by SSC_DISTRICT_BROKER_URL.

Belongs here: where the broker is, who may enter, and running the embedded one. What is published is in `messages`.

The embedded one is amqtt on loopback: nobody enters without name and password, and what a client did not acknowledge before it
was cut off is not sent again, as this broker forgets it. The platform's export files of the day hold everything.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from sources import settings
from sources.reference_district.district import DistrictError, home

USER = "ssc"
STREAMS = ("fire_detection", "waterlogging")  # the systems that send messages
START_SECONDS = 15
STOP_SECONDS = 3


@dataclass(frozen=True)
class Address:
    host: str
    port: int
    user: str
    password: str

    @property
    def url(self) -> str:
        return f"mqtt://{self.user}@{self.host}:{self.port}"


def external() -> Address | None:
    """The broker that SSC_DISTRICT_BROKER_URL names, with the password from SSC_DISTRICT_BROKER_PASSWORD.

    Raises:
        DistrictError: the URL lacks a part.
    """
    text = os.environ.get("SSC_DISTRICT_BROKER_URL")
    return _parse(text, os.environ.get("SSC_DISTRICT_BROKER_PASSWORD") or "", "SSC_DISTRICT_BROKER_URL") if text else None


def known() -> Address | None:
    """The broker to publish to: the external one, else the one that the serving process wrote into district.env."""
    given = external()
    if given:
        return given
    try:
        lines = dict(line.split("=", 1) for line in (home() / "district.env").read_text().splitlines())
    except FileNotFoundError:
        return None
    text = lines.get(f"SSC_{STREAMS[0].upper()}_LIVE_URL")
    return _parse(text, lines.get(f"SSC_{STREAMS[0].upper()}_LIVE_PASSWORD", ""), str(home() / "district.env")) if text else None


def settings_of(address: Address) -> dict[str, str]:
    """What a product needs to listen: the same for each system that sends messages."""
    lines = {}
    for system in STREAMS:
        lines[f"SSC_{system.upper()}_LIVE_URL"] = address.url
        lines[f"SSC_{system.upper()}_LIVE_PASSWORD"] = address.password
    return lines


def _parse(text: str, password: str, where: str) -> Address:
    parts = urlsplit(text)
    if parts.scheme != "mqtt" or not parts.hostname or not parts.username:
        raise DistrictError(f"{text!r} is no broker's address", where=where, next_step="write for example mqtt://user@127.0.0.1:1883")
    return Address(parts.hostname, parts.port or 1883, unquote(parts.username), password or unquote(parts.password or ""))


@contextmanager
def running() -> Iterator[Address]:
    """A broker to publish to, for as long as the block lasts: the external one, else the embedded one on a free port.

    Raises:
        DistrictError: the embedded broker does not start.
    """
    given = external()
    if given:
        yield given
        return
    password = settings.secret("reference_district_broker_password")
    loop = asyncio.new_event_loop()
    started: threading.Event = threading.Event()
    outcome: list[Broker | BaseException] = []
    thread = threading.Thread(target=_run, args=(loop, password, started, outcome), name="broker", daemon=True)
    thread.start()
    if not started.wait(START_SECONDS) or not isinstance(outcome[0], Broker):
        reason = outcome[0] if outcome else "no answer"
        raise DistrictError(f"the embedded broker does not start ({reason})", where="reference district", next_step="start it again")
    broker = outcome[0]
    server = broker._servers["default"].instance
    assert isinstance(server, asyncio.Server)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1], USER, password)
    finally:
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(broker.shutdown(), loop).result(STOP_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_SECONDS)


def _run(loop: asyncio.AbstractEventLoop, password: str, started: threading.Event, outcome: list[Broker | BaseException]) -> None:
    """The broker's thread: an event loop of its own until it is stopped."""
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(_except_hang_ups)

    async def start() -> Broker:
        broker = Broker(_configuration(password), loop=loop)
        await broker.start()
        return broker

    try:
        outcome.append(loop.run_until_complete(start()))
    except Exception as error:
        outcome.append(error)
        return
    finally:
        started.set()
    loop.run_forever()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()


def _except_hang_ups(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """amqtt knows no MQTT 5 and lets it escape when a client that it refuses has hung up by itself."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def _configuration(password: str) -> BrokerConfig:
    """Loopback, any free port, one account and nobody else."""
    path = home() / "broker_accounts"
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{USER}:{PasswordHash((Argon2Hasher(),)).hash(password)}\n")
    os.replace(partial, path)
    return BrokerConfig(
        listeners={"default": ListenerConfig(bind="127.0.0.1:0")},
        plugins={"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(path)}},
    )
