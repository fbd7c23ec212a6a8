"""The command line: ``python -m sources.reference_district serve|move``."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
import time

import uvicorn

from sources import settings
from sources.errors import SscError
from sources.reference_district import broker, clock, generate, messages, police
from sources.reference_district.district import District, DistrictError, home, iso, seconds
from sources.reference_district.server import INTERFACES, Behaviour, Service, application

FILE_SYSTEMS = ("tax_filing", "waterlogging", "ground_collapse", "fire_detection")
LIVE_SECONDS = 60.0  # SSC_DISTRICT_LIVE_SECONDS in its place makes tests quick


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sources.reference_district", description="Plays the departments of a district.")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="serve on loopback and write district.env; LIVE=1 lets the clock run")
    serving.add_argument("--port", type=int, default=0, help="0 takes a free one")
    moving = commands.add_parser("move", help="set the replay clock and deliver the files that have arrived by then")
    moving.add_argument("--to", required=True, help="for example 2026-10-01T00:00+08:00")
    chosen = parser.parse_args(arguments)
    try:
        district = District.from_environment()
        if chosen.command == "move":
            to = seconds(chosen.to, "--to")
            step = clock.move(district, to)
            said = f"clock {iso(to)}: {step.laid} files delivered" + (f", {step.taken} taken back" if step.taken else "")
            sent = messages.publish(step.folder, step.before, to)
            print(said + (f", {sent} messages sent" if sent else ""), flush=True)
        else:
            serve(district, chosen.port)
    except SscError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def serve(district: District, port: int) -> None:
    """Serve until stopped.

    Raises:
        DistrictError: the port is taken.
    """
    listener = _listen(port)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    standing = clock.read()
    clock.move(district, min(standing if standing is not None else district.clock_start, district.end))
    folder = home() / "generated" / district.fingerprint()
    tokens = {"grid_management": settings.secret("reference_district_token")}
    tokens["urban_management"] = settings.secret("reference_district_urban_management_token")
    behaviour = Behaviour.from_environment()
    services = {
        system: Service(interface, generate.registers(folder, system), tokens[system], district.seed, _clock, behaviour)
        for system, interface in INTERFACES.items()
    }
    with broker.running() as platform:
        _write_environment(address, tokens, platform)
        if os.environ.get("LIVE") == "1":
            every = float(os.environ.get("SSC_DISTRICT_LIVE_SECONDS") or LIVE_SECONDS)
            threading.Thread(target=_live, args=(district, every), daemon=True).start()
        print(f"reference district: {address} (clock {iso(_clock())})", flush=True)
        server = uvicorn.Server(uvicorn.Config(application(services), log_level="warning", access_log=False, timeout_graceful_shutdown=2))
        server.run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise DistrictError(
            f"port {port} is taken or not allowed ({error.strerror})",
            where="reference district",
            next_step="give another with --port, or 0 for a free one",
        ) from error
    return listener


def _clock() -> int:
    moment = clock.read()
    if moment is None:
        raise DistrictError("the clock file is gone", where=str(clock.path()), next_step="python -m sources.reference_district move --to …")
    return moment


def _write_environment(address: str, tokens: dict[str, str], platform: broker.Address) -> None:
    """district.env: what a product needs to pull from this district."""
    lines = {
        "SSC_CLOCK": str(clock.path()),
        "SSC_IS_DEMO": "1",
        **{f"SSC_{system.upper()}_URL": f"{address}/{system}" for system in tokens},
        **{f"SSC_{system.upper()}_TOKEN": token for system, token in tokens.items()},
        **{f"SSC_{system.upper()}_URL": (clock.files() / system).as_uri() for system in FILE_SYSTEMS},
        **police.settings_of(police.address()),
        **broker.settings_of(platform),
    }
    partial = home() / ".district.env.part"
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("".join(f"{key}={value}\n" for key, value in lines.items()))
    os.replace(partial, home() / "district.env")


def _live(district: District, every: float) -> None:
    """Let the clock run with wall time, from where it stands, as far as there is data."""
    began, stood = time.monotonic(), _clock()
    while True:
        time.sleep(every)
        to = stood + int(time.monotonic() - began)
        if to > district.end:
            return
        step = clock.move(district, to)
        messages.publish(step.folder, step.before, to)


if __name__ == "__main__":
    sys.exit(main())
