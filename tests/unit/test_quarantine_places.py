"""Where `make quarantine` sends a person: the file and row, the sheet and row, or the row of the load, by the server that delivered it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestration.quarantine import _place
from sources.catalogue import load_catalogue
from sources.connectors.files import FILE_STRIDE
from sources.landing import Landing

T1 = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("system", "entity", "server", "row", "place"),
    [
        ("tax_filing", "filing", "", 2 * FILE_STRIDE + 17, "file 3 row 17"),
        ("ground_collapse", "void_survey", "", FILE_STRIDE + 17, "file 2 sheet 空洞普查 row 17"),
        ("grid_management", "grid_event", "", 17, "row 17"),
        ("police_dispatch", "dispatch", "", 17, "row 17"),
        ("fire_detection", "smoke_reading", "", FILE_STRIDE + 17, "file 2 row 17"),
        ("fire_detection", "smoke_reading", "live", 17, "row 17"),
    ],
)
def test_places(data: Path, system: str, entity: str, server: str, row: int, place: str) -> None:
    of = load_catalogue()[system].entity(entity)
    with Landing().writer(system, entity, of.contract_version, None, T1, server) as writer:
        manifest = writer.commit_frames([], None)
    assert _place(of, Landing(), manifest.load_id, row) == place
