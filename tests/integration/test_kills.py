"""Kill -9 anywhere on the way of the data, run the same command again: the release equals that of an undisturbed run.

Real processes throughout: the reference district serves, ``python -m orchestration update`` runs in a process group of its own, and
the whole group is killed, dbt included. A point is reached when it is seen, never after so many seconds: either the files on disk
or dbt's log show it, or the interpreter itself stops the process right before a system call (an audit hook, put in by the
environment and not by the product). The group is then held still, looked at once more, and killed.

Six points in one data folder, one after the other, in the suite; twenty, each from a fresh start, with the mark ``long``.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestration.release import RELEASE_ID, equal, read_link, read_release
from sources.catalogue import load_catalogue
from tests.whole_way import MOMENTS, District, Warehouse, district

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]  # minutes on a busy machine

# Runs in every Python of the killed command. Stops the process before the n-th call that matches, and says so.
STOPPER = """
import os, re, signal, sys, threading, time
_name, _nth, _pattern = os.environ["SSC_TEST_STOP"].split(" ", 2)
_left, _pattern, _one = int(_nth), re.compile(_pattern), threading.Lock()

def _hook(name, arguments):
    global _left
    if name == _name and _left and _pattern.search(repr(arguments)):
        with _one:
            _left -= 1
            if not _left:
                with open(os.environ["SSC_TEST_STOPPED"], "w") as file:
                    file.write(repr(arguments))
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(600)  # the signal goes to the main thread first; this one must not go on meanwhile

sys.addaudithook(_hook)
"""


# ------------------------------------------------------------------------------------------------------------ looking


@dataclass
class Look:
    """What can be seen of a command that runs, from outside: its files and dbt's log."""

    warehouse: Warehouse
    log_from: int = 0
    started: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    @property
    def landing(self) -> Path:
        return self.warehouse.data / "landing"

    @property
    def published(self) -> Path:
        return self.warehouse.data / "published"

    def landed(self, system: str, entity: str = "*") -> int:
        return len(list((self.landing / system).glob(f"{entity}/[0-9]*/_manifest.json")))

    def incoming(self, system: str, entity: str) -> list[Path]:
        return list((self.landing / system / entity).glob(".incoming-*"))

    def candidates(self) -> list[Path]:
        return list((self.published / ".candidate").glob("*Z-*"))

    def releases(self) -> set[str]:
        return {path.parent.name for path in self.published.glob("*Z-*/_release.json")}

    def read_dbt(self) -> None:
        """Take in the lines that dbt wrote since the last call; a node is in the middle when it started and has not ended."""
        path = self.warehouse.target / "dbt.log"
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self.log_from)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.log_from += len(whole)
        for line in whole.splitlines():
            if b'"LogStartLine"' in line or b'"LogModelResult"' in line or b'"LogTestResult"' in line:
                fact = json.loads(line)
                name = fact["data"]["node_info"]["node_name"]
                (self.started if fact["info"]["name"] == "LogStartLine" else self.ended)[name] += 1

    def is_in_the_middle_of(self, *models: str) -> bool:
        return any(self.started[model] > self.ended[model] for model in models)


@dataclass(frozen=True)
class Point:
    """Where to kill: in update 1 (all there is) or 2 (an increment); what must be seen; before which call to hold, if any."""

    name: str
    update: int
    seen: Callable[[Look], bool]
    call: str = ""

    def __str__(self) -> str:
        return f"{self.update} {self.name}"


def middle_of(*models: str, after: tuple[str, ...] = ()) -> Callable[[Look], bool]:
    """One of ``models`` is being built, and all of ``after`` are."""

    def seen(look: Look) -> bool:
        look.read_dbt()
        return look.is_in_the_middle_of(*models) and all(look.ended[model] for model in after)

    return seen


def checks_under_way(look: Look) -> bool:
    look.read_dbt()
    return sum(name.startswith(("not_null", "unique", "relationships", "accepted")) for name in look.ended) >= 60


def unpublished(look: Look) -> bool:
    """A release has its name, and ``current`` does not say so yet."""
    return len(look.releases()) > 0 and max(look.releases()) != read_link(look.warehouse.data, "current")


BASES = ("base_grid_management__grid_event", "base_waterlogging__water_level", "base_waterlogging__rain_gauge")
ENTITIES = [(system.id, entity.name) for system in load_catalogue().values() for entity in system.entities]

REST_PULL = Point("REST pull", 1, lambda look: bool(look.incoming("grid_management", "grid_event")))
FILES_LANDING = Point(
    "files before their folder has its name", 1,
    lambda look: any((path / "_manifest.json").exists() for path in look.incoming("waterlogging", "water_level"))
    and not look.landed("waterlogging", "water_level"),
    "os.rename 1 waterlogging/water_level/[.]incoming-[^']*', '[^']*/2026",
)  # fmt: skip
BASE_MODELS = Point("base models", 1, middle_of(*BASES, after=("base_grid_management__household",)))
CANDIDATE_COPY = Point(
    "copy of the candidate", 1,
    lambda look: any((path / "marts.duckdb").exists() and not (path / "open_data.duckdb").exists() for path in look.candidates()),
    "open 2 [.]candidate/[^']*/marts",
)  # fmt: skip
MARTS = Point("marts", 2, middle_of("fct_sensor_hour", "fct_incident", "fct_enterprise_month", after=BASES))
BEFORE_SWITCH = Point("release named, link not switched", 2, unpublished, "os.symlink 1 [.]link-current")
SIX = (REST_PULL, FILES_LANDING, BASE_MODELS, CANDIDATE_COPY, MARTS, BEFORE_SWITCH)

FURTHER = (
    Point(
        "between entities", 1,
        # its threads go on for a moment
        lambda look: 0 < look.landed("grid_management") < sum(system == "grid_management" for system, _ in ENTITIES),
        "os.rename 2 grid_management/[^']*', '[^']*/2026",
    ),
    Point(
        "manifest not yet in place", 1,
        lambda look: bool(look.incoming("tax_filing", "filing")) and not look.landed("tax_filing"),
        "os.rename 1 tax_filing/[^']*_manifest.json",
    ),
    Point(
        "before dbt", 1,
        lambda look: all(look.landed(*names) for names in ENTITIES)
        and (look.warehouse.data / "work" / "build.json").exists(),
        "subprocess.Popen 1 dbt', \\[[^]]*'build'",
    ),
    Point("staging and first tables", 1, middle_of("int_readings_summed", "int_incidents_conformed", "stg_waterlogging__water_level")),
    Point("open data", 1, middle_of("open_community_month", "open_waterlogging_month", "open_about")),
    Point(
        "build ended, results not taken over", 1,
        lambda look: (look.warehouse.data / "build" / "run_results.tmp").exists() and not look.releases(),
        "os.rename 1 build/run_results.json",
    ),
    Point("REST pull", 2, lambda look: bool(look.incoming("grid_management", "grid_event"))),
    Point("base models", 2, middle_of(*BASES)),
    Point("tests of dbt", 2, checks_under_way),
    Point(
        "between gate and candidate", 2,
        lambda look: (look.warehouse.data / "build" / "run_results.json").exists() and not look.candidates(),
        "os.mkdir 1 published/[.]candidate/",
    ),
    Point(
        "candidate judged, without its name", 2,
        lambda look: any((path / "_release.json").exists() for path in look.candidates()),
        "os.rename 1 published/[.]candidate/[^']*', [^']*'[^']*/published/20",
    ),
    Point(
        "new link beside the old", 2,
        lambda look: unpublished(look) and bool(list(look.published.glob(".link-current-*"))),
        "os.rename 1 published/current'",
    ),
)  # fmt: skip
RANDOM = tuple((update, round(random.Random(f"kill {update} {n}").uniform(0.1, 0.9), 2)) for update in (1, 2) for n in range(4))
assert len(FURTHER) + len(RANDOM) == 20


# ------------------------------------------------------------------------------------------------------------ killing


def kill_at(point: Point, warehouse: Warehouse, stopper: Path) -> None:
    """Start the update, hold it at the point, see that it is there, and kill the whole process group."""
    look = Look(warehouse)
    (warehouse.target / "dbt.log").unlink(missing_ok=True)  # a new one: it is rotated at 10 MB, after one build and a half
    settings = {}
    stopped = warehouse.folder / "stopped"
    stopped.unlink(missing_ok=True)
    if point.call:
        paths = f"{stopper}{os.pathsep}{warehouse.environment()['PYTHONPATH']}"
        settings = {"SSC_TEST_STOP": point.call, "SSC_TEST_STOPPED": str(stopped), "PYTHONPATH": paths}
    process = warehouse.start("update", **settings)
    try:
        deadline = time.monotonic() + 300
        while True:
            assert process.poll() is None, f"{point}: it ended before the point was seen\n{warehouse.log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"{point}: not seen in 300 s\n{warehouse.log.read_text()[-3000:]}"
            if stopped.exists() if point.call else point.seen(look):
                os.killpg(process.pid, signal.SIGSTOP)
                time.sleep(0.05)
                if point.seen(look):
                    break
                assert not point.call, f"{point}: held at {stopped.read_text()}, but the files do not show it"
                os.killpg(process.pid, signal.SIGCONT)  # it was over when the process stood still: wait for another
            time.sleep(0.002)
    finally:
        kill(process, warehouse)


def kill(process: subprocess.Popen[bytes], warehouse: Warehouse) -> None:
    """Kill -9 the process group; nothing that works on this data folder may be left."""
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while left := running(warehouse):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)


def running(warehouse: Warehouse) -> list[str]:
    """Processes that have the warehouse's data folder as theirs."""
    mark, found = f"SSC_DATA={warehouse.data}\0".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes() + b"\0":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return found


def whole_release_that_serves(warehouse: Warehouse) -> str | None:
    """Whatever was killed, ``current`` names a complete release or nothing."""
    current = read_link(warehouse.data, "current")
    if current:
        release = read_release(warehouse.data / "published" / current)
        assert all((release.path / file).exists() for file in release.files)
    return current


def check_same_end(warehouse: Warehouse, expected: Path) -> None:
    """The release that serves equals the expected one, and the kills left nothing lying about."""
    current = warehouse.release()
    assert current is not None
    comparison = equal(current, expected)
    assert comparison, "\n".join(comparison.differences)
    assert current.name == expected.name
    left = [path.name for path in (warehouse.data / "published").iterdir() if not RELEASE_ID.fullmatch(path.name)]
    assert sorted(left) == [".lock", "current"]
    assert not list((warehouse.data / "landing").glob("*/*/.incoming-*"))


# ------------------------------------------------------------------------------------------------------------ the tests


@dataclass
class Undisturbed:
    """A run that nobody kills, in a district of its own, beside the tests until somebody needs what it made.

    ``after_first`` is a copy of its data folder between the two updates; ``seconds`` says how long each update took.
    """

    warehouse: Warehouse
    after_first: Path
    releases: list[Path] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    running: Future[None] | None = None

    def go(self) -> None:
        for number, moment in enumerate(MOMENTS):
            self.warehouse.of.move(moment)
            if number == 1:
                shutil.copytree(self.warehouse.data, self.after_first, symlinks=True)
            started = time.monotonic()
            self.warehouse.run("update")
            self.seconds.append(time.monotonic() - started)
            release = self.warehouse.release()
            assert release is not None and release.name.startswith(("2026-09-30T1600Z", "2026-10-31T1600Z")[number])
            self.releases.append(release)

    def wait_for(self, seen: Callable[[], bool]) -> None:
        assert self.running
        while not seen():
            if self.running.done():
                self.running.result()  # raises what went wrong
                assert seen()
            time.sleep(0.05)

    def wait_for_parsed_project(self) -> None:
        self.wait_for(lambda: self.warehouse.log.exists() and "pull_" in self.warehouse.log.read_text())

    def release(self, update: int) -> Path:
        self.wait_for(lambda: len(self.releases) >= update)
        return self.releases[update - 1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[District]:
    with district(tmp_path_factory.mktemp("district")) as served:
        yield served


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with district(folder / "district") as own, ThreadPoolExecutor(1) as thread:
        run = Undisturbed(Warehouse(folder / "it", own), folder / "after_first")
        run.running = thread.submit(run.go)
        yield run


@pytest.fixture(scope="module")
def stopper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopper")
    (folder / "sitecustomize.py").write_text(STOPPER)
    return folder


def test_killed_at_six_points_ends_in_the_release_of_an_undisturbed_run(
    place: District, undisturbed: Undisturbed, stopper: Path, tmp_path: Path
) -> None:
    warehouse = Warehouse(tmp_path / "killed", place)
    undisturbed.wait_for_parsed_project()
    warehouse.copy_parsed_project(undisturbed.warehouse)
    served = set()
    for update, moment in enumerate(MOMENTS, start=1):
        place.move(moment)
        for point in SIX:
            if point.update == update:
                kill_at(point, warehouse, stopper)
                served.add(whole_release_that_serves(warehouse))
        warehouse.run("update")
        check_same_end(warehouse, undisturbed.release(update))
    assert served <= {None, undisturbed.release(1).name}


def _fresh(update: int, place: District, undisturbed: Undisturbed, folder: Path) -> Warehouse:
    """A warehouse that stands before the update: empty before the first, a copy of the undisturbed one before the second."""
    undisturbed.release(2)
    warehouse = Warehouse(folder, place)
    warehouse.copy_parsed_project(undisturbed.warehouse)
    if update == 2:
        shutil.copytree(undisturbed.after_first, warehouse.data, symlinks=True, dirs_exist_ok=True)
    place.move(MOMENTS[update - 1])
    return warehouse


@pytest.mark.long
@pytest.mark.parametrize("point", FURTHER, ids=str)
def test_killed_at_a_point(point: Point, place: District, undisturbed: Undisturbed, stopper: Path, tmp_path: Path) -> None:
    warehouse = _fresh(point.update, place, undisturbed, tmp_path / "killed")
    kill_at(point, warehouse, stopper)
    assert whole_release_that_serves(warehouse) in (None, undisturbed.release(1).name)
    warehouse.run("update")
    check_same_end(warehouse, undisturbed.release(point.update))


@pytest.mark.long
@pytest.mark.parametrize(("update", "fraction"), RANDOM)
def test_killed_at_a_random_moment(update: int, fraction: float, place: District, undisturbed: Undisturbed, tmp_path: Path) -> None:
    for attempt in range(4):  # a machine that got quicker may be done before the moment: then half of it
        warehouse = _fresh(update, place, undisturbed, tmp_path / f"killed-{attempt}")
        process = warehouse.start("update")
        try:
            process.wait(undisturbed.seconds[update - 1] * fraction / 2**attempt)
        except subprocess.TimeoutExpired:
            break
        assert process.returncode == 0, warehouse.log.read_text()[-3000:]
    kill(process, warehouse)
    assert whole_release_that_serves(warehouse) in (None, *(release.name for release in undisturbed.releases))
    warehouse.run("update")
    check_same_end(warehouse, undisturbed.release(update))
