"""The whole way of the data by real processes: a reference district that serves, and data folders brought up to a moment of it.

For tests that kill, back up or compare; what they expect stands in the tests.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sources.settings import root

MOMENTS = ("2026-10-01T00:00+08:00", "2026-11-01T00:00+08:00")  # one month before AS_OF, and AS_OF
SETTINGS = ("SSC_", "DAGSTER_", "DBT_")


def environment(**settings: str | Path) -> dict[str, str]:
    """The caller's environment without any setting of the product, plus ``settings``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    fixed = {"PYTHONPATH": str(root()), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DO_NOT_TRACK": "1", "GX_ANALYTICS_ENABLED": "false"}
    return {**inherited, **fixed, **{name: str(value) for name, value in settings.items()}}


@dataclass
class District:
    """A reference district that is being served; its own data folder is nobody else's."""

    folder: Path
    settings: dict[str, str]
    scale: str

    def move(self, to: str) -> None:
        """Set its clock, back too, and deliver the files that have arrived by then."""
        command = [sys.executable, "-m", "sources.reference_district", "move", "--to", to]
        subprocess.run(command, cwd=root(), env=_of_district(self.folder, self.scale), check=True, capture_output=True, timeout=120)


@contextlib.contextmanager
def district(folder: Path, *, scale: str = "test") -> Iterator[District]:
    """Serve a reference district until the block ends; its faults stall it for half a second at most."""
    command = [sys.executable, "-m", "sources.reference_district", "serve"]
    process = subprocess.Popen(
        command, cwd=root(), env=_of_district(folder, scale), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout
        deadline = time.monotonic() + 300
        while True:
            assert time.monotonic() < deadline, "the reference district did not start"
            if select.select([process.stdout], [], [], 1.0)[0]:
                line = process.stdout.readline()
                assert line, "the reference district ended"
                if "http://" in line:
                    break
        lines = (folder / "reference_district" / "district.env").read_text().splitlines()
        yield District(folder, dict(line.split("=", 1) for line in lines), scale)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _of_district(folder: Path, scale: str) -> dict[str, str]:
    faults = {"SSC_DISTRICT_STALL_SECONDS": "0.5", "SSC_DISTRICT_RETRY_AFTER_SECONDS": "1"}
    return environment(SSC_DATA=folder, SCALE=scale, SEED="440304", AS_OF=MOMENTS[-1], **faults)


@dataclass
class Warehouse:
    """One installation: data folder, Dagster home and dbt target of its own, below ``folder``, pulling from ``of``."""

    folder: Path
    of: District
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in (self.data, self.home, self.target):
            path.mkdir(parents=True, exist_ok=True)
        shutil.copy(root() / "dagster.yaml", self.home)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def home(self) -> Path:
        return self.folder / "dagster"

    @property
    def target(self) -> Path:
        return self.folder / "target"

    @property
    def log(self) -> Path:
        return self.folder / "output.txt"

    def environment(self, **settings: str) -> dict[str, str]:
        own: dict[str, str | Path] = {"SSC_DATA": self.data, "DAGSTER_HOME": self.home, "DBT_TARGET_PATH": self.target}
        return environment(**{**own, **self.of.settings, **self.settings, **settings})

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        """``python -m orchestration <arguments>`` in a process group of its own; output is appended to :attr:`log`."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "orchestration", *arguments],
                cwd=root(),
                env=self.environment(**settings),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *arguments: str) -> None:
        """The same to its end; fails with what it printed."""
        code = self.start(*arguments).wait(timeout=600)
        assert code == 0, f"exit code {code}\n{self.log.read_text()[-4000:]}"

    def copy_parsed_project(self, of: Warehouse) -> None:
        """Take over dbt's parsed project, which is the same for all and takes ten seconds to make."""
        for name in ("manifest.json", "partial_parse.msgpack"):
            if (of.target / name).exists():
                shutil.copy2(of.target / name, self.target / name)

    def release(self, link: str = "current") -> Path | None:
        """The folder of the release that ``current`` or ``public`` names."""
        path = self.data / "published" / link
        return path.resolve() if path.is_symlink() else None
