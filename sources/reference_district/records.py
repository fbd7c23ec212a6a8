"""Records that change over time, and what a server may show of them at a moment.

A `Register` is a table of keys (`base`) and a table of their states (`versions`), in the order of arrival. Belongs here: the
one rule that a reader at a moment sees of each key its latest state that has arrived, and nothing later. Knows nothing of HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from sources.reference_district.district import NEVER, iso_texts
from sources.reference_district.faults import Fault


@dataclass
class Generated:
    """What a department with records has: registers to serve, faults planted, and the truth by entity (one row per key)."""

    registers: dict[str, Register]
    faults: list[Fault]
    truth: dict[str, pl.DataFrame]


@dataclass
class Register:
    """One REST entity.

    base: one row per key, source-named columns. versions: ``_key`` (row of base), ``_arrival``, ``_next`` (arrival of the next
    state of the key, NEVER if none), ``_override`` (JSON object of fields that a fault replaces, or null) and the source-named
    columns that change; sorted by arrival. A row of versions that stands there twice is an exact repeat. columns: order in
    the JSON. A column named in json_columns holds JSON text.
    """

    base: pl.DataFrame
    versions: pl.DataFrame
    columns: list[str]
    json_columns: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.arrival = self.versions["_arrival"].to_numpy()
        self.next = self.versions["_next"].to_numpy()

    def visible(self, since: int | None, until: int, clock: int) -> np.ndarray:
        """Row numbers of versions that arrived in (since, until] and are the latest state of their key at `clock`."""
        first = 0 if since is None else int(np.searchsorted(self.arrival, since, side="right"))
        last = int(np.searchsorted(self.arrival, min(until, clock), side="right"))
        return first + np.flatnonzero(self.next[first:last] > clock) if last > first else np.empty(0, dtype=np.int64)

    def rows(self, numbers: np.ndarray) -> list[dict[str, object]]:
        """The records of these row numbers of versions, as they go over the wire."""
        states = self.versions[numbers]
        frame = pl.concat([self.base[states["_key"]], states.drop("_key", "_arrival", "_next")], how="horizontal")
        fragments = [name for name in self.columns if name in self.json_columns]
        records = frame.select(*self.columns, "_override").to_dicts()
        for record in records:
            for name in fragments:
                record[name] = orjson.Fragment(record[name])
            override = record.pop("_override")
            if override:
                record.update(orjson.loads(override))
        return records

    def values(self, column: str, numbers: np.ndarray) -> pl.Series:
        """What stands in one source-named column of these row numbers of versions, faults aside."""
        if column in self.versions.columns:
            return self.versions[column][numbers]
        return self.base[column][self.versions["_key"][numbers]]

    def save(self, folder: Path, name: str) -> None:
        self.base.write_parquet(folder / f"{name}.base.parquet", compression="lz4")
        self.versions.write_parquet(folder / f"{name}.versions.parquet", compression="lz4")
        (folder / f"{name}.json").write_bytes(orjson.dumps({"columns": self.columns, "json": sorted(self.json_columns)}))

    @classmethod
    def load(cls, folder: Path, name: str) -> Register:
        about = orjson.loads((folder / f"{name}.json").read_bytes())
        return cls(
            pl.read_parquet(folder / f"{name}.base.parquet"),
            pl.read_parquet(folder / f"{name}.versions.parquet"),
            about["columns"],
            frozenset(about["json"]),
        )


def ordered(versions: pl.DataFrame, repeated: np.ndarray, updated: str = "updatedAt") -> pl.DataFrame:
    """Versions in the order of arrival, with ``_next`` and the column `updated`, every state of the keys in `repeated` twice.

    versions: ``_key, _arrival, _override`` and changing columns. Two states of a key never arrive in the same second.
    """
    frame = versions.sort("_key", "_arrival")
    frame = frame.with_columns(
        pl.col("_arrival").shift(-1).over("_key").fill_null(NEVER).alias("_next"), iso_texts(frame["_arrival"].to_numpy()).alias(updated)
    )
    twice = frame.filter(pl.col("_key").is_in(repeated.tolist()))
    return pl.concat([frame, twice]).sort("_arrival", "_key", maintain_order=True)
