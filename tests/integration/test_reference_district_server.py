"""The reference district as a process: its address, tokens, pages, cursors, faults, and its clock.

Reads it as a careful client would and compares with the truth files.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "sources.reference_district"]
SEPTEMBER_END, OCTOBER_END = "2026-10-01T00:00:00+08:00", "2026-11-01T00:00:00+08:00"


def environment(data: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SSC_") and k not in {"SEED", "AS_OF", "SCALE", "LIVE"}}
    return kept | {"SSC_DATA": str(data), "SCALE": "test", "SSC_DISTRICT_STALL_SECONDS": "1.5", **more}


class Client:
    """One running district and a patient reader of it. Starting it also waits for its line."""

    def __init__(self, data: Path, **more: str) -> None:
        self.data, self.env = data, environment(data, **more)
        self.process = subprocess.Popen(
            [*COMMAND, "serve"], cwd=ROOT, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        self.settings = dict(line.split("=", 1) for line in (data / "reference_district" / "district.env").read_text().splitlines())
        self.http = httpx.Client(
            headers={"Authorization": f"Bearer {self.settings['SSC_GRID_MANAGEMENT_TOKEN']}"}, timeout=1, trust_env=False
        )
        self.seen: Counter[str] = Counter()

    def move(self, to: str) -> None:
        subprocess.run([*COMMAND, "move", "--to", to], cwd=ROOT, env=self.env, check=True, capture_output=True, timeout=60)

    def get(self, path: str, **query: object) -> dict:
        """One page, tried until it comes; counts what went wrong in `seen`."""
        for _ in range(5):
            try:
                answer = self.http.get(
                    self.settings["SSC_GRID_MANAGEMENT_URL"] + path, params={k: str(v) for k, v in query.items() if v is not None}
                )
            except httpx.TimeoutException:
                self.seen["stall"] += 1
                continue
            if answer.status_code == 200:
                return answer.json()
            self.seen[str(answer.status_code)] += 1
            if answer.status_code == 429:
                assert int(answer.headers["Retry-After"]) >= 1
        raise AssertionError("five times no answer")

    def by_cursor(self, path: str, limit: int = 500, **query: object) -> list[dict]:
        rows, cursor = [], None
        while True:
            body = self.get(path, limit=limit, cursor=cursor, **query)
            rows += body["data"]
            cursor = body["nextCursor"]
            if cursor is None:
                assert len(rows) == body["total"]
                return rows

    def by_page(self, path: str, limit: int, **query: object) -> tuple[list[dict], int]:
        """Rows, and how often the list changed while it was read, so that reading began again."""
        restarts = 0
        while True:
            rows, total, page = [], None, 1
            while True:
                body = self.get(path, limit=limit, page=page, **query)
                if total is not None and body["total"] != total:
                    restarts += 1
                    break
                total = body["total"]
                rows += body["data"]
                if page >= body["pages"]:
                    assert len(rows) == total
                    return rows, restarts
                page += 1

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=10)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with nothing but the generated district, to copy: generating it again and again only takes time."""
    data = tmp_path_factory.mktemp("made")
    subprocess.run([*COMMAND, "move", "--to", SEPTEMBER_END], cwd=ROOT, env=environment(data), check=True, capture_output=True, timeout=120)
    for path in (data / "reference_district").iterdir():
        if path.name != "generated":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return data


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


@pytest.fixture(scope="module")
def district(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(Path(shutil.copytree(made, tmp_path_factory.mktemp("served") / "data")))
    yield client
    client.process.kill()
    client.process.wait()


def totals(client: Client, moment: str) -> dict:
    return json.loads((client.data / "reference_district" / "truth" / "totals.json").read_bytes())["by_clock"][moment]


def test_it_says_where_it_is_and_keeps_the_token_to_its_owner(district: Client) -> None:
    base = district.settings["SSC_GRID_MANAGEMENT_URL"].removesuffix("/grid_management")
    assert district.line == f"reference district: {base} (clock {SEPTEMBER_END})\n"
    assert base.startswith("http://127.0.0.1:")
    path = district.data / "reference_district" / "district.env"
    assert path.stat().st_mode & 0o777 == 0o600
    assert set(district.settings) == {
        "SSC_CLOCK",
        "SSC_IS_DEMO",
        "SSC_GRID_MANAGEMENT_URL",
        "SSC_GRID_MANAGEMENT_TOKEN",
        "SSC_TAX_FILING_URL",
        "SSC_WATERLOGGING_URL",
    }
    assert Path(district.settings["SSC_WATERLOGGING_URL"].removeprefix("file://")).is_dir()


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "令牌".encode()}])
def test_without_the_token_there_is_nothing(district: Client, header: dict) -> None:
    answer = httpx.get(district.settings["SSC_GRID_MANAGEMENT_URL"] + "/api/v1/residents", headers=header, trust_env=False)
    assert answer.status_code == 401 and "data" not in answer.text


@pytest.mark.parametrize("query", [{"updatedSince": "yesterday"}, {"cursor": "nonsense"}, {"limit": "0"}, {"page": "x"}])
def test_nonsense_is_refused(district: Client, query: dict) -> None:
    answer = district.http.get(district.settings["SSC_GRID_MANAGEMENT_URL"] + "/api/v1/grid-events", params=query)
    assert answer.status_code == 400 and answer.json()["error"]


def test_first_read_meets_every_fault_and_gets_every_event(district: Client) -> None:
    district.seen.clear()
    rows = district.by_cursor("/api/v1/grid-events", updatedUntil=SEPTEMBER_END, limit=300)
    assert len(rows) == totals(district, SEPTEMBER_END)["grid_event"]["served_count"]
    assert len({r["eventId"] for r in rows}) == totals(district, SEPTEMBER_END)["grid_event"]["distinct_count"]
    assert [r["updatedAt"] for r in rows] == sorted(r["updatedAt"] for r in rows)
    assert max(r["updatedAt"] for r in rows) <= SEPTEMBER_END
    assert district.seen == {"429": 1, "500": 1, "stall": 1}
    again = district.by_cursor("/api/v1/grid-events", updatedUntil=SEPTEMBER_END, limit=300)
    assert again == rows and district.seen == {"429": 1, "500": 1, "stall": 1}


def test_a_list_that_changes_while_it_is_read_settles(district: Client) -> None:
    until = "2026-09-28T00:00:00+08:00"
    rows, restarts = district.by_page("/api/v1/households", 50, updatedUntil=until)
    assert restarts == 1
    again, restarts = district.by_page("/api/v1/households", 50, updatedUntil=until)
    assert restarts == 0 and again == rows
    whole, _ = district.by_page("/api/v1/households", 2000, updatedUntil=until)
    assert whole == rows and len(rows) > 100


def test_the_clock_moves_while_it_runs_and_windows_add_up(data: Path) -> None:
    client = Client(data)
    try:
        before = {r["eventId"]: r for r in client.by_cursor("/api/v1/grid-events", updatedUntil=SEPTEMBER_END)}
        files = set((data / "reference_district" / "files").rglob("*.*"))
        assert client.by_cursor("/api/v1/grid-events", updatedSince=SEPTEMBER_END, updatedUntil=OCTOBER_END) == []
        client.move(OCTOBER_END)
        later = client.by_cursor("/api/v1/grid-events", updatedSince=SEPTEMBER_END, updatedUntil=OCTOBER_END)
        assert later and all(SEPTEMBER_END < r["updatedAt"] <= OCTOBER_END for r in later)
        everything = {r["eventId"]: r for r in client.by_cursor("/api/v1/grid-events", updatedUntil=OCTOBER_END)}
        assert before | {r["eventId"]: r for r in later} == everything
        assert len(everything) == totals(client, OCTOBER_END)["grid_event"]["distinct_count"]
        assert sum(r["eventId"] in before for r in later) > 10  # events that went on
        assert files < set((data / "reference_district" / "files").rglob("*.*"))
        for path, name in (("/api/v1/residents", "resident"), ("/api/v1/rented-housing", "rented_housing")):
            rows = client.by_cursor(path) if name == "resident" else client.by_page(path, 20)[0]
            key = "residentId" if name == "resident" else "houseId"
            assert len({r[key] for r in rows}) == totals(client, OCTOBER_END)[name]["distinct_count"]
    finally:
        assert client.stop() in (0, 130, -signal.SIGINT)


def test_a_cursor_survives_a_clock_that_moves_between_pages(data: Path) -> None:
    client = Client(data, SSC_DISTRICT_FAULTS="off")
    try:
        first = client.get("/api/v1/grid-events", limit=1000, updatedUntil=SEPTEMBER_END)
        client.move(OCTOBER_END)
        rows, cursor = first["data"], first["nextCursor"]
        while cursor:
            body = client.get("/api/v1/grid-events", limit=1000, updatedUntil=SEPTEMBER_END, cursor=cursor)
            rows, cursor = rows + body["data"], body["nextCursor"]
        later = client.by_cursor("/api/v1/grid-events", updatedSince=SEPTEMBER_END, updatedUntil=OCTOBER_END)
        # what moved on between the pages is missing from the first window and stands in the next: nothing is lost
        assert {r["eventId"] for r in rows} | {r["eventId"] for r in later} == {
            r["eventId"] for r in client.by_cursor("/api/v1/grid-events")
        }
        assert client.seen == {}
    finally:
        client.stop()


def test_a_page_of_2000_is_quick(data: Path) -> None:
    client = Client(data, SSC_DISTRICT_FAULTS="off")
    try:
        took = []
        for _ in range(5):
            started = time.perf_counter()
            assert len(client.get("/api/v1/grid-events")["data"]) == 2000
            took.append(time.perf_counter() - started)
        assert min(took) < 0.1
    finally:
        client.stop()


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "serve", "--port", str(port)],
            cwd=ROOT,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and f"port {port} is taken" in done.stderr and "Next:" in done.stderr


def test_live_lets_the_clock_run(data: Path) -> None:
    client = Client(data, LIVE="1", SSC_DISTRICT_LIVE_SECONDS="0.2")
    try:
        clock = Path(client.settings["SSC_CLOCK"])
        deadline = time.monotonic() + 10
        while (now := datetime.fromisoformat(clock.read_text().strip())) <= datetime.fromisoformat(
            SEPTEMBER_END
        ) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert 0 < (now - datetime.fromisoformat(SEPTEMBER_END)).total_seconds() < 60
    finally:
        client.stop()
