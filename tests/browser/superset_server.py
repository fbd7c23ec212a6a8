"""A Superset of its own for the tests: provisioned in a temporary data folder, served on a free port, stopped at the end.

Started once per test session, at its first use, however many test files ask for it.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import secrets
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser.make_open_data import make_release, publish

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-superset" / "bin" / "python"
FIRST, SECOND, REAL = "2026-10-31T1600Z-aaaaaaaaaaaa", "2026-10-31T1600Z-bbbbbbbbbbbb", "2026-10-31T1600Z-cccccccccccc"


@dataclass
class Server:
    """A running Superset. ``data`` is its data folder, ``url`` its address."""

    data: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    provision_output: str = ""
    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    _admin: httpx.Client | None = field(default=None, repr=False)
    _people: dict[str, httpx.Client] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SSC_DATA": str(self.data), "SSC_SUPERSET_PORT": str(self.port), "PYTHONPATH": str(ROOT)}

    def run(self, module: str, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a module of ``dashboards`` in Superset's environment."""
        command = [str(PYTHON), "-m", module, *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False)

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask or change the metadata."""
        with closing(sqlite3.connect(self.data / "superset" / "superset.db", timeout=30)) as connection:
            rows = connection.execute(sql, parameters).fetchall()
            connection.commit()
        return rows

    def start(self) -> None:
        """Serve, and wait until it answers."""
        log = (self.data / "serve.log").open("wb")
        command = [str(PYTHON), "-m", "dashboards.serve"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT)
        for _ in range(120):
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/health", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.5)
        pytest.fail(f"Superset did not start: {(self.data / 'serve.log').read_text()[-3000:]}")

    def stop(self) -> None:
        """End the server that was started here."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def admin(self) -> httpx.Client:
        """A client with the administrator's session (one login for all tests: logging in is limited)."""
        if self._admin is None:
            self._admin = self._logged_in("admin", (self.data / "secrets" / "superset_admin_password").read_text().strip())
            self._admin.headers["X-CSRFToken"] = self._admin.get("/api/v1/security/csrf_token/").json()["result"]
        return self._admin

    def person(self, *roles: str) -> httpx.Client:
        """A client with the session of a person who has just these roles, made as an administrator makes one.

        Args:
            roles: names of roles, or how they begin (``community_440304001019``).
        """
        username = "-".join(roles)
        if username not in self._people:
            keys = [self.query("select id from ab_role where name = ? or name like ? || ' %'", role, role)[0][0] for role in roles]
            password = secrets.token_urlsafe(16)
            person = {"username": username, "first_name": "测试", "last_name": "人员", "email": f"{username}@localhost", "active": True}
            made = self.admin().post("/api/v1/security/users/", json={**person, "roles": keys, "password": password})
            assert made.status_code == 201, made.text
            self.passwords[username] = password
            self._people[username] = self._logged_in(username, password)
        return self._people[username]

    def _logged_in(self, username: str, password: str) -> httpx.Client:
        client = httpx.Client(base_url=self.url, timeout=60, headers={"Referer": self.url})
        client.post("/login/", data={"username": username, "password": password, "csrf_token": csrf_token(client)})
        assert client.get("/api/v1/me/").status_code == 200, f"{username} could not log in"
        return client

    def chart_request(self, title: str, slug: str = "transparency", month: str | None = "2026-10") -> dict[str, Any]:
        """What a browser sends for a chart of a dashboard."""
        ((chart, dataset, params),) = self.query("select id, datasource_id, params from slices where slice_name = ?", title)
        ((dashboard,),) = self.query("select id from dashboards where slug = ?", slug)
        saved = json.loads(params)
        filters = [{"col": "month", "op": "IN", "val": [month]}] if month else []
        own = [{"col": f["subject"], "op": f["operator"], "val": f["comparator"]} for f in saved["adhoc_filters"]]
        polygon = ["line_column"] if saved["viz_type"] == "deck_polygon" else []
        columns = saved.get("all_columns") or [saved[key] for key in ("x_axis", *polygon) if saved.get(key)] + saved.get("groupby", [])
        columns = columns + [item["column_name"] for item in saved.get("tooltip_contents", [])]
        query = {
            "filters": [*filters, *own],
            "extras": {"having": "", "where": ""},
            "applied_time_extras": {},
            "columns": columns,
            "orderby": [json.loads(order) for order in saved.get("order_by_cols", [])],
            "annotation_layers": [],
            "row_limit": saved.get("row_limit", 500),
            "series_limit": 0,
            "post_processing": [],
            "time_offsets": [],
        }
        if saved.get("query_mode") != "raw":  # with metrics, even none, the rows would be grouped
            query["metrics"] = saved.get("metrics") or [saved["metric"]]
        return {
            "datasource": {"id": dataset, "type": "table"},
            "force": False,
            "queries": [query],
            "form_data": {"slice_id": chart, "dashboardId": dashboard, "viz_type": saved["viz_type"]},
            "result_format": "json",
            "result_type": "full",
        }


def csrf_token(client: httpx.Client) -> str:
    """The token of the login form."""
    page = client.get("/login/").text
    found = re.search(r'id="csrf_token"[^>]*value="([^"]+)"', page) or re.search(r"csrf_token&#34;: &#34;([^&]+)", page)
    found = found or re.search(r'"csrf_token":\s*"([^"]+)"', page)
    assert found, "no CSRF token on the login page"
    return found[1]


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def running() -> Server:
    """The session's server, with two releases that differ in every count and one that is no demo; the first is published."""
    if not PYTHON.exists():
        pytest.skip("Superset's environment .venv-superset is absent: make setup")
    data = Path(tempfile.mkdtemp(prefix="ssc-superset-"))
    server = Server(data, free_port())
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    atexit.register(server.stop)
    make_release(data, FIRST)
    make_release(data, SECOND, marker=1000)
    make_release(data, REAL, marker=2000, is_demo=False)
    publish(data, FIRST)
    (data / "site" / "public").mkdir(parents=True)
    (data / "site" / "public" / "index.html").write_text("<p>公开页</p>")
    (data / "site" / "internal").mkdir()
    (data / "site" / "internal" / "index.html").write_text("<p>内部页</p>")
    done = server.run("dashboards.provision")
    server.provision_output = done.stdout
    if done.returncode != 0:
        pytest.fail(f"provisioning failed: {done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    server.start()
    return server
