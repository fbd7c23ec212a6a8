"""The catalogue and dbt agree: generated files never drift, hand-written ones are never touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sources import generate
from sources.errors import SscError
from sources.settings import root


def test_generated_files_agree_with_the_catalogue() -> None:
    assert generate.drift(root() / "dbt_project", generate.files()) == []


def test_an_edited_a_missing_and_a_left_over_file_are_found(tmp_path: Path) -> None:
    project = shutil.copytree(root() / "dbt_project", tmp_path / "dbt_project", ignore=shutil.ignore_patterns("target", "logs"))
    files = generate.files()
    names = sorted(name for name in files if name.endswith(".sql"))
    edited, missing = project / names[0], project / names[1]
    edited.write_text(edited.read_text() + "-- mine\n")
    missing.unlink()
    (project / "models/staging/waterlogging/base_old.sql").write_text(f"-- {generate.MARK}\nselect 1\n")
    assert sorted(generate.drift(project, files)) == sorted(
        [f"{names[0]} differs", f"{names[1]} is missing", "models/staging/waterlogging/base_old.sql is left over"]
    )
    assert generate.write(project, files) == 3 and generate.drift(project, files) == []


def test_a_hand_written_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "models/staging/waterlogging/stg_waterlogging__water_level.sql"
    path.parent.mkdir(parents=True)
    path.write_text("select 1")
    with pytest.raises(SscError, match="a hand-written file stands here"):
        generate.write(tmp_path, generate.files())
    assert path.read_text() == "select 1"
