"""Serving in the foreground: Superset, Dagster, the collector of messages and, for a demo, the reference district, as children of one
process.

Ctrl-C, a kill, or the end of any child ends them all. What they serve is made elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from sources.errors import SscError
from sources.settings import data_dir, root

DAGSTER_PORT = 3000
SUPERSET_PORT = 8088
FREE_BYTES = 3_000_000_000


def ports() -> dict[str, int]:
    """Where the servers listen, on loopback: ``SSC_SUPERSET_PORT`` and ``SSC_DAGSTER_PORT`` move them."""
    return {
        "SSC_SUPERSET_PORT": int(os.environ.get("SSC_SUPERSET_PORT") or SUPERSET_PORT),
        "SSC_DAGSTER_PORT": int(os.environ.get("SSC_DAGSTER_PORT") or DAGSTER_PORT),
    }


def check_ports() -> None:
    """Raises SscError where a port is taken."""
    for variable, port in ports().items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise SscError(f"port {port} is taken", next_step=f"stop what listens there, or set {variable} to a free port") from None


def check_disk(folder: Path) -> None:
    """Raises SscError where the data folder's disk is nearly full."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise SscError(
            f"only {free / 1e9:.1f} GB are free, {FREE_BYTES / 1e9:.0f} GB are needed",
            where=str(folder),
            next_step="make room, or set SSC_DATA to a folder on another disk",
        )


class Children:
    """Child processes, each with its own group, ended together."""

    def __init__(self) -> None:
        self.running: dict[str, subprocess.Popen[Any]] = {}

    def start(self, name: str, command: list[str], *, log: Path | None = None, **environment: str) -> subprocess.Popen[Any]:
        """Start a child; its output goes to ``log``, or to the terminal."""
        target = None
        if log:
            log.parent.mkdir(parents=True, exist_ok=True)
            target = log.open("ab")
        self.running[name] = subprocess.Popen(
            command,
            cwd=root(),
            env={**os.environ, **environment},
            stdout=target,
            stderr=subprocess.STDOUT if target else None,
            start_new_session=True,
        )
        return self.running[name]

    def end(self, name: str) -> None:
        """End one of them, if it runs."""
        if name in self.running:
            one = Children()
            one.running[name] = self.running.pop(name)
            one.stop()

    def wait(self) -> str:
        """Wait until one of them ends; returns its name."""
        while True:
            for name, child in self.running.items():
                if child.poll() is not None:
                    return name
            time.sleep(0.5)

    def stop(self) -> None:
        """End them all, first politely."""
        for sign, seconds in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)):
            for child in self.running.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, sign)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and any(child.poll() is None for child in self.running.values()):
                time.sleep(0.1)
        self.running.clear()


@contextlib.contextmanager
def children() -> Iterator[Children]:
    """Children that end with the block, however it ends; a TERM counts as Ctrl-C.

    INT is set too: a script's shell starts what runs in the background with INT ignored, and Dagster, where it runs in this process, has
    TERM do what INT does.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    group = Children()
    try:
        yield group
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        group.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def superset_python() -> str:
    """The interpreter of Superset's environment.

    Raises:
        SscError: it is not installed.
    """
    path = root() / ".venv-superset" / "bin" / "python"
    if not path.exists():
        raise SscError("Superset's environment is not installed", where=str(path.parent.parent), next_step="run `make setup`")
    return str(path)


def provision() -> None:
    """Bring Superset to the state of ``dashboards/``; prints its progress, the rest goes to ``data/logs/provision.log``.

    Raises:
        SscError: it failed.
    """
    log = data_dir() / "logs" / "provision.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        done = subprocess.run(
            [superset_python(), "-m", "dashboards.provision"], cwd=root(), env={**os.environ, "PYTHONPATH": str(root())}, stderr=file
        )
    if done.returncode:
        raise SscError("Superset could not be provisioned", where=str(log), next_step="read its end, mend, and run the same command again")


def start_collector(group: Children) -> None:
    """Start the collector where a server of messages has an address."""
    from sources.catalogue import load_catalogue
    from sources.connectors.stream import servers

    if servers(load_catalogue()):
        group.start("collector", [sys.executable, "-m", "sources.collector"], log=data_dir() / "logs" / "collector.log")


def start_servers(group: Children, *, schedules: bool) -> None:
    """Start Superset and Dagster and wait until both answer.

    Raises:
        SscError: one of them did not start; names its log.
    """
    logs = data_dir() / "logs"
    port = ports()
    group.start("superset", [superset_python(), "-m", "dashboards.serve"], log=logs / "superset.log", PYTHONPATH=str(root()))
    dagster = [str(Path(sys.executable).with_name("dagster")), "dev", "-h", "127.0.0.1", "-p", str(port["SSC_DAGSTER_PORT"])]
    group.start(
        "dagster",
        [*dagster, "-m", "orchestration.definitions", "--log-level", "warning"],
        log=logs / "dagster.log",
        DAGSTER_HOME=os.environ.get("DAGSTER_HOME", str(root())),
        SSC_SCHEDULES="on" if schedules else "off",
    )
    waiting = {"superset": port["SSC_SUPERSET_PORT"], "dagster": port["SSC_DAGSTER_PORT"]}
    deadline = time.monotonic() + 180
    while waiting:
        for name in list(waiting):
            if group.running[name].poll() is not None or time.monotonic() > deadline:
                raise SscError(f"{name} did not start", where=str(logs / f"{name}.log"), next_step="read the end of that file")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", waiting[name]), timeout=1):
                del waiting[name]
        time.sleep(0.3)


def addresses() -> str:
    """What to open, and where the password lies."""
    port = ports()
    superset, dagster = f"http://127.0.0.1:{port['SSC_SUPERSET_PORT']}", f"http://127.0.0.1:{port['SSC_DAGSTER_PORT']}"
    return f"""
  社区平安信息公开 · transparency   {superset}/superset/dashboard/transparency/   (open to anyone; look here first)
  监测预警与处置 · operations       {superset}/superset/dashboard/operations/   (log in; open warnings, sensors, freshness)
  Superset                         {superset}/login/   user admin, password in {data_dir()}/secrets/superset_admin_password
  Dagster                          {dagster}/asset-groups   (the whole way of the data as one graph)
  Logs                             {data_dir()}/logs
  Ctrl-C ends everything."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m orchestration.serve", description="Provision Superset and serve it and Dagster.")
    parser.add_argument("--schedules", action="store_true", help="pull and build by the catalogue's cadences")
    chosen = parser.parse_args()
    try:
        check_ports()
        check_disk(data_dir())
        provision()
        with children() as group:
            start_collector(group)
            start_servers(group, schedules=chosen.schedules)
            print(addresses(), flush=True)
            name = group.wait()
            raise SscError(f"{name} ended", where=str(data_dir() / "logs" / f"{name}.log"), next_step="read the end of that file")
    except SscError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
