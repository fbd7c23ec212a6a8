"""Fixtures of the browser tests: Superset with a small release, and a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.make_open_data import publish
from tests.browser.superset_server import FIRST, ROOT, Server, running

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def server() -> Server:
    return running()


@pytest.fixture
def first_release(server: Server) -> Iterator[Server]:
    """The server with the first release published, before and after the test."""
    publish(server.data, FIRST)
    yield server
    publish(server.data, FIRST)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("no Chromium at /usr/bin/chromium: apt-get install chromium fonts-noto-cjk")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _pages_closed(request: pytest.FixtureRequest) -> Iterator[None]:
    """A page left open goes on drawing its charts, at the cost of every later test."""
    yield
    if "chromium" in request.fixturenames:
        for context in request.getfixturevalue("chromium").contexts:
            context.close()


@pytest.fixture(scope="session")
def artefacts() -> Path:
    folder = ROOT / "tests" / "artefacts"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
