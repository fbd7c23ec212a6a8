"""A release switched under load: no error, and no figure of a release that was not current during the request."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.browser.make_open_data import publish
from tests.browser.superset_server import FIRST, SECOND, Server
from tests.browser.test_transparency import _expected_total

pytestmark = pytest.mark.browser
VIEWERS, SECONDS = 16, 12
TOTAL = {FIRST: f"{_expected_total(0):,}", SECOND: f"{_expected_total(1000):,}"}


def _total(client: httpx.Client, body: dict[str, object]) -> tuple[str, bool]:
    answer = client.post("/api/v1/chart/data", json=body)
    assert answer.status_code == 200, answer.text[:500]
    (result,) = answer.json()["result"]
    return result["data"][0]["cell"], bool(result["is_cached"])


def test_switch_under_load(first_release: Server) -> None:
    body = first_release.chart_request("全区主要指标")
    # Each entry: when a switch began, when it was done, and to which release.
    switches: list[tuple[float, float, str]] = [(0.0, 0.0, FIRST)]
    stop = time.monotonic() + SECONDS
    seen: list[tuple[float, float, str, bool]] = []
    lock = threading.Lock()

    def switch() -> None:
        while time.monotonic() < stop:
            release = SECOND if switches[-1][2] == FIRST else FIRST
            began = time.monotonic()
            publish(first_release.data, release)
            switches.append((began, time.monotonic(), release))
            time.sleep(0.11)

    def view() -> None:
        with httpx.Client(base_url=first_release.url, timeout=60) as client:
            while time.monotonic() < stop:
                began = time.monotonic()
                total, cached = _total(client, body)
                with lock:
                    seen.append((began, time.monotonic(), total, cached))

    with ThreadPoolExecutor(VIEWERS + 1) as pool:
        for future in [pool.submit(switch), *(pool.submit(view) for _ in range(VIEWERS))]:
            future.result()

    def current_during(began: float, ended: float) -> set[str]:
        until = [*(done for _, done, _ in switches[1:]), float("inf")]
        return {TOTAL[r] for (start, _, r), end in zip(switches, until, strict=True) if start <= ended and end >= began}

    stale = [entry for entry in seen if entry[2] not in current_during(entry[0], entry[1])]
    assert stale == []
    assert len(switches) > 40 and len(seen) > 100
    assert {total for _, _, total, _ in seen} == set(TOTAL.values())
    assert any(cached for *_, cached in seen), "the cache must be in use, else this shows nothing"


def test_going_back_shows_the_old_figure_at_once(first_release: Server) -> None:
    """Publication withdrawn: the figures of the release before come back, from the cache, and never mixed."""
    body = first_release.chart_request("全区主要指标", month="2026-06")
    with httpx.Client(base_url=first_release.url, timeout=60) as client:
        first, _ = _total(client, body)
        publish(first_release.data, SECOND)
        second, cached = _total(client, body)
        assert second != first and not cached
        publish(first_release.data, FIRST)
        assert _total(client, body) == (first, True)
