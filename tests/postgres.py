"""A PostgreSQL of one's own for tests and measurements: Debian's binaries, own data folder, loopback, password by SCRAM.

PostgreSQL refuses to run as root, so root starts it as the system user ``postgres``. Nothing of a server that is running is touched.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl of the newest version that is installed; None where there is none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0), default=None)


def reason_to_skip() -> str:
    """Why no server can be started here; empty where one can."""
    if binaries() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and not shutil.which("runuser"):
        return "PostgreSQL does not run as root, and runuser is missing"
    return ""


@dataclass(frozen=True)
class Postgres:
    """A running server; ``user`` may do everything in ``database``."""

    port: int
    password: str
    folder: Path
    user: str = "department"
    database: str = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/{self.database}"

    @property
    def conninfo(self) -> str:
        return f"host=127.0.0.1 port={self.port} user={self.user} password={self.password} dbname={self.database}"

    def control(self, *arguments: str) -> None:
        """pg_ctl, for example ``stop`` or ``start``."""
        _run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), *arguments)


def _run(program: str, *arguments: str) -> None:
    folder = binaries()
    assert folder is not None
    command = [str(folder / program), *arguments]
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL, timeout=120)


@contextlib.contextmanager
def postgres(**settings: str) -> Iterator[Postgres]:
    """Serve until the block ends; ``settings`` go to postgresql.conf."""
    folder = Path(tempfile.mkdtemp(prefix="ssc-postgres-"))
    password = secrets.token_urlsafe(24)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Postgres(port, password, folder)
    (folder / "password").write_text(password)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        shutil.chown(folder / "password", "postgres")
    try:
        _run(
            "initdb", "-D", str(folder / "data"), "-U", server.user, "-A", "scram-sha-256", "--pwfile", str(folder / "password"),
            "-E", "UTF8", "--no-locale", "--no-sync",
        )  # fmt: skip
        given = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": "", "fsync": "off", **settings}
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in given.items())
        server.control("start")
        yield server
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            server.control("stop", "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)
