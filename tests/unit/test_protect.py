"""Keyed hashing: an independent digest, and the same result from Python and from DuckDB."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import polars as pl
import pytest

from sources.catalogue import load_catalogue
from sources.protect import is_protected, keyed_hash, keyed_hash_sql, protect_frame
from sources.settings import data_dir, secret, written_once

OPENSSL = "25905db2c85478a6cb46dcc33b336e7b8657b165550f568495357f1172d21e4a"


def test_against_an_independent_implementation() -> None:
    # printf '440304199001011234' | openssl dgst -sha256 -hmac key
    assert keyed_hash(" 440304199001011234 ", b"key") == OPENSSL


@pytest.mark.parametrize("value", ["13800138000", " 粤b12345 ", "x" * 300, "", "  ", None])
@pytest.mark.parametrize("key", [b"k", b"a key of more than sixty-four bytes, which RFC 2104 says is hashed first, like this"])
def test_duckdb_and_python_agree(value: str | None, key: bytes) -> None:
    [(found,)] = duckdb.execute(f"select {keyed_hash_sql('v', key)} from (select $1::varchar as v)", [value]).fetchall()
    assert found == keyed_hash(value, key)


def test_an_unknown_column_beside_identifiers_is_hashed_and_elsewhere_is_not() -> None:
    systems = load_catalogue()
    residents = systems["grid_management"].entity("resident")
    assert is_protected(residents, "idNumber") and is_protected(residents, "identityNo")
    assert not is_protected(residents, "communityCode")
    assert not is_protected(systems["waterlogging"].entity("water_level"), "signalStrength")


def test_no_clear_value_is_left_in_a_frame() -> None:
    residents = load_catalogue()["grid_management"].entity("resident")
    frame = pl.DataFrame({"residentId": ["R1"], "idNumber": ["99999919900101123X"], "phone": ["10012345678"]})
    protected = protect_frame(residents, frame, b"key")
    assert protected["residentId"].to_list() == ["R1"]
    assert "99999919900101123X" not in str(protected.rows()) and "10012345678" not in str(protected.rows())
    assert len(protected["idNumber"][0]) == 64


def test_a_secret_is_made_once_and_is_the_owners_alone() -> None:
    first = secret("identifier_key")
    assert len(first) >= 32 and secret("identifier_key") == first
    path = data_dir() / "secrets" / "identifier_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_written_once_is_whole_for_all_who_come_together(data: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        for round_ in range(20):
            seen = set(pool.map(lambda n, r=round_: written_once(data / f"file{r}", f"text of {n}"), range(16)))
            assert len(seen) == 1 and next(iter(seen)).startswith("text of ")
    assert not list(data.glob(".*"))
