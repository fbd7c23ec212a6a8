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
from sources.reference_district import clock, generate
from sources.reference_district.district import District, DistrictError, home, iso, seconds
from sources.reference_district.server import Behaviour, Service, application

LIVE_SECONDS = 60.0  # SSC_DISTRICT_LIVE_SECONDS in its place makes tests quick


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sources.reference_district", description="Plays the departments of a district.")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="serve the REST systems on loopback and write district.env; LIVE=1 lets the clock run")
    serving.add_argument("--port", type=int, default=0, help="0 takes a free one")
    moving = commands.add_parser("move", help="set the replay clock and deliver the files that have arrived by then")
    moving.add_argument("--to", required=True, help="for example 2026-10-01T00:00+08:00")
    chosen = parser.parse_args(arguments)
    try:
        district = District.from_environment()
        if chosen.command == "move":
            to = seconds(chosen.to, "--to")
            laid, taken = clock.move(district, to)
            print(f"clock {iso(to)}: {laid} files delivered" + (f", {taken} taken back" if taken else ""), flush=True)
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
    token = settings.secret("reference_district_token")
    service = Service(generate.registers(folder), token, district.seed, _clock, Behaviour.from_environment())
    _write_environment(address, token)
    if os.environ.get("LIVE") == "1":
        threading.Thread(
            target=_live, args=(district, float(os.environ.get("SSC_DISTRICT_LIVE_SECONDS") or LIVE_SECONDS)), daemon=True
        ).start()
    print(f"reference district: {address} (clock {iso(_clock())})", flush=True)
    server = uvicorn.Server(
        uvicorn.Config(application({"grid_management": service}), log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    )
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


def _write_environment(address: str, token: str) -> None:
    """district.env: what a product needs to pull from this district."""
    lines = {
        "SSC_CLOCK": str(clock.path()),
        "SSC_IS_DEMO": "1",
        "SSC_GRID_MANAGEMENT_URL": f"{address}/grid_management",
        "SSC_GRID_MANAGEMENT_TOKEN": token,
        "SSC_TAX_FILING_URL": (clock.files() / "tax_filing").as_uri(),
        "SSC_WATERLOGGING_URL": (clock.files() / "waterlogging").as_uri(),
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
        clock.move(district, to)


if __name__ == "__main__":
    sys.exit(main())
