"""Fixtures that every kind of test shares. No test touches the repository's own data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")


LONGEST_FIRST = (
    "test_kills",
    "superset",
    "test_marts",
    "test_warnings",
    "test_backup",
    "test_orchestration",
    "test_staging",
    "test_collector",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers, tests that share expensive fixtures stay together: one Superset for all that need it, else one module.

    The longest groups go first, so that no worker begins one when the others have nothing left to do.
    """

    def group(item: pytest.Item) -> str:
        if "/browser/" in str(item.path) or "superset" in item.path.name:
            return "superset"
        return item.path.stem if "/integration/" in str(item.path) else ""

    for item in items:
        if group(item):
            item.add_marker(pytest.mark.xdist_group(group(item)))
    items.sort(key=lambda item: LONGEST_FIRST.index(group(item)) if group(item) in LONGEST_FIRST else len(LONGEST_FIRST))


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has a data folder of its own, and no setting of the person who runs it."""
    for name in list(os.environ):
        if name.startswith("SSC_") and not name.startswith("SSC_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SSC_DATA", str(tmp_path / "data"))
    yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The test's data folder."""
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    return folder
