"""The reference district as a process: its address, tokens, pages, cursors, faults, messages, databases, and its clock.

Reads it as a careful client would and compares with the truth files.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

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

    def requests(self, path: str, size: int, **query: object) -> tuple[list[dict], int]:
        """Rows of the Open311 server, and how often the list changed while it was read, so that reading began again."""
        restarts = 0
        headers = {"Authorization": f"Bearer {self.settings['SSC_URBAN_MANAGEMENT_TOKEN']}"}
        while True:
            rows, total, page = [], None, 1
            while True:
                for _ in range(5):
                    try:
                        answer = self.http.get(
                            self.settings["SSC_URBAN_MANAGEMENT_URL"] + path,
                            params={"page_size": str(size), "page": str(page)} | {k: str(v) for k, v in query.items()},
                            headers=headers,
                        )
                    except httpx.TimeoutException:
                        self.seen["stall"] += 1
                        continue
                    if answer.status_code == 200:
                        break
                    self.seen[str(answer.status_code)] += 1
                now = int(answer.headers["X-Total-Count"])
                if total is not None and now != total:
                    restarts += 1
                    break
                total = now
                rows += answer.json()
                if page * size >= total:
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
        "SSC_URBAN_MANAGEMENT_URL",
        "SSC_URBAN_MANAGEMENT_TOKEN",
        "SSC_POLICE_DISPATCH_URL",
        "SSC_TAX_FILING_URL",
        "SSC_GROUND_COLLAPSE_URL",
        "SSC_WATERLOGGING_URL",
        "SSC_WATERLOGGING_LIVE_URL",
        "SSC_WATERLOGGING_LIVE_PASSWORD",
        "SSC_FIRE_DETECTION_URL",
        "SSC_FIRE_DETECTION_LIVE_URL",
        "SSC_FIRE_DETECTION_LIVE_PASSWORD",
    }
    for system in ("TAX_FILING", "GROUND_COLLAPSE", "WATERLOGGING", "FIRE_DETECTION"):
        assert Path(district.settings[f"SSC_{system}_URL"].removeprefix("file://")).is_dir()
    with sqlite3.connect(f"file:{district.settings['SSC_POLICE_DISPATCH_URL'].removeprefix('sqlite:///')}?mode=ro", uri=True) as police:
        assert police.execute("select count(*) from dispatch").fetchone()[0] > 100
    assert district.settings["SSC_GRID_MANAGEMENT_TOKEN"] != district.settings["SSC_URBAN_MANAGEMENT_TOKEN"]
    for path in (district.data / "secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


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


# Open311


def test_requests_come_by_page_with_every_fault(district: Client) -> None:
    district.seen.clear()
    rows, restarts = district.requests("/requests.json", 300, updated_before=SEPTEMBER_END)
    expected = totals(district, SEPTEMBER_END)["service_request"]
    assert len(rows) == expected["served_count"]
    assert len({r["service_request_id"] for r in rows}) == expected["distinct_count"]
    assert [r["updated_datetime"] for r in rows] == sorted(r["updated_datetime"] for r in rows)
    assert restarts == 1 and district.seen == {"429": 1, "500": 1, "stall": 1}
    again, restarts = district.requests("/requests.json", 300, updated_before=SEPTEMBER_END)
    assert again == rows and restarts == 0
    middle = "2026-09-15T00:00:00+08:00"
    late, _ = district.requests("/requests.json", 2000, updated_after=middle, updated_before=SEPTEMBER_END)
    assert late == [r for r in rows if r["updated_datetime"] > middle]


def test_the_filters_of_the_standard(district: Client) -> None:
    rows, _ = district.requests("/requests.json", 2000, updated_before=SEPTEMBER_END)
    whole = [
        r for r in rows if str(r["requested_datetime"]).startswith("2026-") and r["status"] in ("open", "closed") and r["service_code"]
    ]
    since, until = "2026-09-05T00:00:00+08:00", "2026-09-12T00:00:00+08:00"
    found, _ = district.requests(
        "/requests.json",
        2000,
        updated_before=SEPTEMBER_END,
        start_date=since,
        end_date=until,
        status="closed",
        service_code="010101,010201",
    )
    mine = {r["service_request_id"] for r in whole if since <= r["requested_datetime"] <= until and r["status"] == "closed"}
    mine &= {r["service_request_id"] for r in whole if r["service_code"] in ("010101", "010201")}
    broken = {r["service_request_id"] for r in rows} - {r["service_request_id"] for r in whole}
    assert len(mine) > 10 and mine == {r["service_request_id"] for r in found} - broken
    one = rows[5]["service_request_id"]
    found, _ = district.requests("/requests.json", 10, updated_before=SEPTEMBER_END, service_request_id=one)
    assert {r["service_request_id"] for r in found} == {one}


def test_services_and_falling_objects(district: Client) -> None:
    services, _ = district.requests("/services.json", 2000)
    assert len(services) == 14 and {s["type"] for s in services} <= {"realtime", "batch", "blackbox"}
    requests, _ = district.requests("/requests.json", 2000, updated_before=SEPTEMBER_END)
    assert {r["service_code"] for r in requests} - {"", "990101"} == {s["service_code"] for s in services}
    objects, _ = district.requests("/falling_objects.json", 30, updated_before=SEPTEMBER_END)
    assert len({r["id"] for r in objects}) == totals(district, SEPTEMBER_END)["falling_object"]["distinct_count"]


def test_the_open311_server_wants_its_own_token(district: Client) -> None:
    url = district.settings["SSC_URBAN_MANAGEMENT_URL"] + "/services.json"
    assert district.http.get(url).status_code == 401  # the token of grid management
    assert httpx.get(url, trust_env=False).status_code == 401
    answer = district.http.get(
        district.settings["SSC_URBAN_MANAGEMENT_URL"] + "/requests.json",
        params={"updated_after": "yesterday"},
        headers={"Authorization": f"Bearer {district.settings['SSC_URBAN_MANAGEMENT_TOKEN']}"},
    )
    assert answer.status_code == 400 and "updated_after" in answer.json()["error"]


# Messages


class Listener:
    """A client of the platform that keeps all it gets, once it is subscribed."""

    def __init__(self, url: str, password: str) -> None:
        parts = urlsplit(url)
        self.got: list[tuple[str, str]] = []
        self.ready: list[bool] = []
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="listener")
        self.client.username_pw_set(parts.username, password)
        self.client.on_connect = lambda client, *_: client.subscribe([("fire_detection/#", 1), ("waterlogging/#", 1)])
        self.client.on_subscribe = lambda *_: self.ready.append(True)
        self.client.on_message = lambda _client, _userdata, m: self.got.append((m.topic, m.payload.decode()))
        self.client.connect(parts.hostname or "", parts.port or 0)
        self.client.loop_start()
        self.wait(lambda: bool(self.ready))

    def wait(self, until, seconds: float = 15) -> None:  # type: ignore[no-untyped-def]
        deadline = time.monotonic() + seconds
        while not until() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert until()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def observed(files: Path, since: str, until: str) -> Counter:
    """(topic, time) of every reading that the export files of both systems say was observed in (since, until]."""
    found: Counter = Counter()
    for system, entity, device, moment in (
        ("fire_detection", "smoke_reading", "detectorId", "time"),
        ("waterlogging", "water_level", "refDevice", "dateObserved"),
        ("waterlogging", "rain_gauge", "refDevice", "dateObserved"),
    ):
        for path in (files / system).glob(f"{entity}_2*.ndjson.gz"):
            for line in gzip.decompress(path.read_bytes()).splitlines():
                record = {k: v["value"] if isinstance(v, dict) else v for k, v in json.loads(line).items()}
                if since < record[moment] <= until:
                    found[f"{system}/{entity}/{record[device]}", record[moment]] += 1
    return found


def heard(got: list[tuple[str, str]]) -> Counter:
    found: Counter = Counter()
    for topic, text in got:
        if "fire_alarm" in topic:
            continue
        body = json.loads(text)
        for entity in body["data"] if body.get("type") == "Notification" else [body]:
            moment = entity.get("dateObserved") or entity["time"]
            found[topic, moment["value"] if isinstance(moment, dict) else moment] += 1
    return found


def hear_an_hour(client: Client, url: str, password: str) -> None:
    """A step of an hour is heard, whole; a jump is not; the export of the day says the same."""
    listener = Listener(url, password)
    try:
        until = "2026-10-01T01:00:00+08:00"
        client.move(until)
        listener.wait(lambda: heard(listener.got).total() >= 250)
        client.move("2026-10-02T06:00:00+08:00")  # a day on: the files of 1 October are there now
        expected = observed(client.data / "reference_district" / "files", SEPTEMBER_END, until)
        listener.wait(lambda: heard(listener.got).total() >= expected.total())
        time.sleep(0.5)
        assert heard(listener.got) == expected and expected.total() > 250
    finally:
        listener.close()


def test_an_hour_is_heard_from_the_embedded_broker(data: Path) -> None:
    client = Client(data)
    try:
        url, password = client.settings["SSC_FIRE_DETECTION_LIVE_URL"], client.settings["SSC_FIRE_DETECTION_LIVE_PASSWORD"]
        assert url.startswith("mqtt://ssc@127.0.0.1:") and url == client.settings["SSC_WATERLOGGING_LIVE_URL"]
        hear_an_hour(client, url, password)
    finally:
        assert client.stop() in (0, 130, -signal.SIGINT)
    assert client.process.stderr is not None and client.process.stderr.read() == ""


@pytest.mark.parametrize("account", [None, ("ssc", "wrong"), ("somebody", None)])
def test_nobody_enters_the_broker_without_name_and_password(district: Client, account: tuple[str, str | None] | None) -> None:
    parts, answers = urlsplit(district.settings["SSC_FIRE_DETECTION_LIVE_URL"]), []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="stranger")
    if account:
        client.username_pw_set(account[0], account[1] or district.settings["SSC_FIRE_DETECTION_LIVE_PASSWORD"])
    client.on_connect = lambda _client, _userdata, _flags, reason, _properties: answers.append(reason.is_failure)
    client.connect(parts.hostname or "", parts.port or 0)
    deadline = time.monotonic() + 5
    while not answers and time.monotonic() < deadline:
        client.loop(0.05)
    assert answers == [True]


def test_live_sends_what_is_observed_while_it_runs(data: Path) -> None:
    client = Client(data, LIVE="1", SSC_DISTRICT_LIVE_SECONDS="1")
    try:
        listener = Listener(client.settings["SSC_WATERLOGGING_LIVE_URL"], client.settings["SSC_WATERLOGGING_LIVE_PASSWORD"])
        listener.wait(lambda: len(listener.got) > 0, 60)  # 62 devices, the quickest of them every minute
        listener.close()
        clock = Path(client.settings["SSC_CLOCK"]).read_text().strip()
        assert all(SEPTEMBER_END < moment <= clock for _, moment in heard(listener.got))
    finally:
        client.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_hour_is_heard_from_mosquitto(data: Path, tmp_path: Path) -> None:
    mosquitto, passwords = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto"), shutil.which("mosquitto_passwd")
    if not mosquitto or not passwords:
        pytest.skip("mosquitto and mosquitto_passwd are not installed")
    port, accounts, configuration = free_port(), tmp_path / "accounts", tmp_path / "mosquitto.conf"
    subprocess.run([passwords, "-b", "-c", str(accounts), "city", "of rain"], check=True, capture_output=True)
    account = "user root\n" if os.geteuid() == 0 else ""
    configuration.write_text(
        f"{account}listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {accounts}\nmax_queued_messages 0\n"
    )
    broker = subprocess.Popen([mosquitto, "-c", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
            time.sleep(0.05)
        url = f"mqtt://city@127.0.0.1:{port}"
        client = Client(data, SSC_DISTRICT_BROKER_URL=url, SSC_DISTRICT_BROKER_PASSWORD="of rain")
        try:
            assert client.settings["SSC_WATERLOGGING_LIVE_URL"] == url and client.settings["SSC_WATERLOGGING_LIVE_PASSWORD"] == "of rain"
            hear_an_hour(client, url, "of rain")
        finally:
            client.stop()
    finally:
        broker.terminate()
        broker.wait(10)


def test_where_no_broker_runs_the_clock_moves_all_the_same(data: Path) -> None:
    client = Client(data)
    client.stop()
    done = subprocess.run(
        [*COMMAND, "move", "--to", "2026-10-01T00:30:00+08:00"], cwd=ROOT, env=client.env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "messages were not sent" in done.stderr


# The police's database on a server


@pytest.fixture
def postgresql() -> Iterator[str]:
    """URL, without its password "of steel", of a PostgreSQL server of its own."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(p) for p in [shutil.which("initdb")] if p]
    if not found:
        pytest.skip("PostgreSQL's initdb is not installed")
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="ssc-pg-"))
    (folder / "password").write_text("of steel")
    if as_user:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres")
    binaries, port = found[-1].parent, free_port()
    subprocess.run(
        [*as_user, binaries / "initdb", "-D", folder / "data", "-U", "police", "-A", "scram-sha-256", "--pwfile", folder / "password"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    control = [*as_user, binaries / "pg_ctl", "-D", folder / "data"]
    options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
    started = [*control, "-o", options, "-l", folder / "log", "-w", "start"]
    subprocess.run(started, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        yield f"postgresql://police@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], capture_output=True, cwd=folder)
        shutil.rmtree(folder, ignore_errors=True)


def test_the_police_keep_the_same_in_postgresql(data: Path, postgresql: str) -> None:
    client = Client(data, SSC_DISTRICT_POLICE_URL=postgresql, SSC_DISTRICT_POLICE_PASSWORD="of steel")
    try:
        assert client.settings["SSC_POLICE_DISPATCH_URL"] == postgresql
        assert client.settings["SSC_POLICE_DISPATCH_PASSWORD"] == "of steel"
        client.move(OCTOBER_END)
        with psycopg.connect(postgresql, password="of steel") as connection:
            connection.execute("set time zone 'Asia/Shanghai'")
            rows = connection.execute("select jjd_bh, sq_dm, jj_sj, zt, gl_bh, bgxh from dispatch").fetchall()
            hours = connection.execute("select xl_rq, sq_dm, xl_ss, jl_rs, gx_sj from patrol_hours_day").fetchall()
    finally:
        client.stop()
    own = subprocess.run([*COMMAND, "move", "--to", OCTOBER_END], cwd=ROOT, env=environment(data), capture_output=True, timeout=60)
    assert own.returncode == 0
    with sqlite3.connect(data / "reference_district" / "police_dispatch" / "dispatch.db") as connection:
        theirs = connection.execute("select jjd_bh, sq_dm, jj_sj, zt, gl_bh, bgxh from dispatch").fetchall()
        days = connection.execute("select xl_rq, sq_dm, xl_ss, jl_rs, gx_sj from patrol_hours_day").fetchall()
    assert sorted((a, b, c and c.isoformat(), *rest) for a, b, c, *rest in rows) == sorted(theirs) and len(rows) > 1000
    assert sorted((a.isoformat(), b, float(c), d, e.isoformat()) for a, b, c, d, e in hours) == sorted(days)


def test_a_police_database_that_does_not_answer_is_one_sentence(data: Path) -> None:
    env = environment(data, SSC_DISTRICT_POLICE_URL=f"postgresql://police@127.0.0.1:{free_port()}/postgres")
    done = subprocess.run([*COMMAND, "move", "--to", SEPTEMBER_END], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "the police's database" in done.stderr.splitlines()[-1] and "Next:" in done.stderr
