"""The public dashboard as a visitor without an account sees it, in a real Chromium."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.make_open_data import CATEGORIES, MONTHS, NAMES, _count, publish
from tests.browser.superset_server import REAL, SECOND, Server

pytestmark = pytest.mark.browser
CHARTS_ZH = ["全区主要指标", "社区地图（示意）", "同类社区排名", "各类别件数，近 24 个月", "易涝点", "数据新旧", "统计口径"]


def _open(page: Page, server: Server, slug: str) -> list[str]:
    """Open a dashboard tall enough for every chart to be drawn; returns what went wrong on the way."""
    wrong: list[str] = []
    page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.goto(f"{server.url}/superset/dashboard/{slug}/")
    page.wait_for_selector("[data-test-chart-name]", timeout=60_000)
    page.wait_for_load_state("networkidle")
    page.wait_for_function("() => document.querySelectorAll('[data-test-chart-name]').length >= 8", timeout=60_000)
    page.wait_for_function("() => document.querySelectorAll('.loading, [data-test=\"loading-indicator\"]').length === 0", timeout=60_000)
    page.wait_for_timeout(1500)
    return wrong


def _page(chromium: Browser, width: int = 1600, height: int = 2250) -> Page:
    return chromium.new_context(viewport={"width": width, "height": height}, locale="zh-CN").new_page()


def _expected_total(marker: int) -> int:
    """The district's count of the latest month over all categories, by the formula of the made-up release."""
    cells = [_count(i, len(MONTHS) - 1, k, marker)[0] or 0 for i in range(len(NAMES)) for k in range(len(CATEGORIES))]
    return sum(cells)


def test_visitor_sees_every_chart_in_chinese(first_release: Server, chromium: Browser, artefacts: Path) -> None:
    page = _page(chromium)
    wrong = _open(page, first_release, "transparency")
    page.screenshot(path=artefacts / "transparency-zh.png")
    assert wrong == []
    text = page.inner_text("body")
    assert page.title().startswith("社区平安信息公开")
    for title in CHARTS_ZH:
        assert title in text
    assert "演示数据" in text
    assert f"{_expected_total(0):,}" in text
    assert "隐去*" in text and "缺报" in text
    assert "错误" not in text and "Data error" not in text
    assert page.locator('[data-test-viz-type="deck_polygon"] canvas').count() >= 1
    search = page.locator('[data-test-chart-name="同类社区排名"] input').first.get_attribute("placeholder") or ""
    assert "异常" not in search and "条记录" in search
    ranking = page.inner_text('[data-test-chart-name="同类社区排名"]')
    assert "虚拟" not in ranking
    wide = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1]


def test_headline_cards_are_whole(first_release: Server, chromium: Browser) -> None:
    page = _page(chromium)
    _open(page, first_release, "transparency")
    cards = page.locator('[data-test-chart-name="全区主要指标"] tbody tr:visible')
    assert cards.count() == 5
    holder = page.locator('[data-test-chart-name="全区主要指标"]').bounding_box()
    assert holder
    for i in range(5):
        box = cards.nth(i).bounding_box()
        assert box and box["y"] + box["height"] <= holder["y"] + holder["height"] + 1
        assert "较上月" in cards.nth(i).inner_text() and "较上年同月" in cards.nth(i).inner_text()
    lines = page.locator('[data-test-chart-name="数据说明"] td:visible')
    label = lines.first.bounding_box()
    assert label and label["height"] >= 20


def test_map_names_the_community_under_the_pointer(first_release: Server, chromium: Browser, artefacts: Path) -> None:
    page = _page(chromium)
    _open(page, first_release, "transparency")
    box = page.locator('[data-test-viz-type="deck_polygon"]').bounding_box()
    assert box
    found = ""
    for x in range(60, int(box["width"]) - 20, 40):  # across the upper row of tiles
        page.mouse.move(box["x"] + x, box["y"] + box["height"] * 0.34)
        page.wait_for_timeout(150)
        tip = page.locator(".deckgl-tooltip, [class*=tooltip]:visible").all_inner_texts()
        found = next((t for t in tip if "社区:" in t or "社区：" in t), "")
        if found:
            break
    page.screenshot(path=artefacts / "transparency-map-tooltip.png")
    assert re.search(r"社区.*社区", found, re.S) and "件数" in found


def test_month_filter_starts_at_the_latest_and_changes_the_figures(first_release: Server, chromium: Browser) -> None:
    page = _page(chromium)
    _open(page, first_release, "transparency")
    assert page.locator(".ant-select").first.inner_text().strip() == "2026-10"
    before = page.inner_text('[data-test-chart-name="全区主要指标"]')
    page.locator(".ant-select").first.click()
    page.locator(".ant-select-item-option", has_text="2026-08").click()
    page.locator('[data-test="filter-bar__apply-button"]').click()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2000)
    assert page.inner_text('[data-test-chart-name="全区主要指标"]') != before


def test_english_twin(first_release: Server, chromium: Browser, artefacts: Path) -> None:
    page = _page(chromium)
    wrong = _open(page, first_release, "transparency-en")
    page.screenshot(path=artefacts / "transparency-en.png")
    assert wrong == []
    text = page.inner_text("body")
    assert "The district in figures" in text and "Demo data" in text and "Login" in text
    assert f"{_expected_total(0):,}" in text


def test_real_data_carries_no_demo_label(first_release: Server, chromium: Browser) -> None:
    publish(first_release.data, REAL)
    page = _page(chromium)
    _open(page, first_release, "transparency")
    text = page.inner_text("body")
    assert "演示数据" not in text
    label = page.locator('[data-test-chart-name="数据说明"] td').first
    colour = label.evaluate("cell => getComputedStyle(cell).backgroundColor")
    assert colour in ("rgba(0, 0, 0, 0)", "transparent")


def test_next_visit_shows_the_next_release(first_release: Server, chromium: Browser) -> None:
    page = _page(chromium)
    _open(page, first_release, "transparency")
    assert f"{_expected_total(0):,}" in page.inner_text("body")
    publish(first_release.data, SECOND)
    page.reload()
    page.wait_for_selector("text=发布标记 1000", timeout=60_000)
    page.wait_for_timeout(1500)
    text = page.inner_text("body")
    assert f"{_expected_total(1000):,}" in text and f"{_expected_total(0):,}" not in text


def test_nothing_leaves_the_machine(first_release: Server, chromium: Browser) -> None:
    """Superset's page asks for a counting pixel of its maker; the policy stops it, and nothing else is even asked for."""
    page = _page(chromium)
    answered: list[str] = []
    page.on("response", lambda r: answered.append(r.url) if not r.url.startswith((first_release.url, "data:", "blob:")) else None)
    _open(page, first_release, "transparency")
    assert answered == []
