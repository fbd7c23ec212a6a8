"""The record of what was planted wrong, and what a right product makes of it; and the hand that picks records to break.

What is broken, how often and how, is with the generators.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson
import polars as pl

from sources.reference_district.district import District, iso

BROKEN_DATES = ["2026-13-05T08:00:00+08:00", "二〇二六年三月五日", "2026-02-30T25:61:00+08:00"]


@dataclass(frozen=True)
class Fault:
    """One planted fault.

    ``expected`` is quarantined (``rule`` = contract column and check: required, type, pattern, range, enum; or late),
    superseded (one of several rows of a key), or kept. ``arrival`` is when it can first be seen; ``mended`` when a good state
    of the same key arrives.
    """

    system: str
    entity: str
    key: dict[str, Any]
    kind: str
    expected: str
    arrival: int
    rule: str | None = None
    mended: int | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"arrival": iso(self.arrival), "mended": iso(self.mended) if self.mended else None}


class Breaker:
    """Hands out keys to break, each once, and keeps the record."""

    def __init__(
        self, district: District, system: str, faults: list[Fault], entity: str, keys: pl.Series, first_arrival: np.ndarray
    ) -> None:
        self.district, self.system, self.faults, self.entity = district, system, faults, entity
        self.keys, self.first_arrival = keys, first_arrival
        candidates = np.flatnonzero(first_arrival < district.as_of)
        self.pool = district.rng("faults", entity).permutation(candidates)
        self.replaced: dict[int, dict[str, object]] = {}  # for good
        self.replaced_once: dict[int, dict[str, object]] = {}  # in the first state only

    def take(self, demo_count: int, allowed: np.ndarray | None = None) -> np.ndarray:
        pool = self.pool if allowed is None else self.pool[allowed[self.pool]]
        chosen = pool[: self.district.faults(demo_count)]
        self.pool = self.pool[~np.isin(self.pool, chosen)]
        return chosen

    def note(self, i: int, kind: str, expected: str, rule: str | None = None, mended: int | None = None, note: str = "") -> None:
        self.faults.append(
            Fault(
                self.system,
                self.entity,
                {self.keys.name: self.keys[int(i)]},
                kind,
                expected,
                int(self.first_arrival[i]),
                rule,
                mended,
                note,
            )
        )

    def plant(self, demo_count: int, kind: str, rule: str, source: str, value: object, allowed: np.ndarray | None = None) -> None:
        """Replace a field for good, so that the row must go to quarantine.

        value: what to write, or a function of the key's row number.
        """
        for i in self.take(demo_count, allowed):
            self.replaced[int(i)] = {source: value(int(i)) if callable(value) else value}
            self.note(i, kind, "quarantined", rule)

    def overrides(self, versions: pl.DataFrame) -> pl.DataFrame:
        """Versions with ``_override`` filled in."""
        always = pl.DataFrame(
            {"_key": list(self.replaced), "_always": [orjson.dumps(v).decode() for v in self.replaced.values()]},
            schema={"_key": pl.Int64, "_always": pl.Utf8},
        )
        once = pl.DataFrame(
            {"_key": list(self.replaced_once), "_once": [orjson.dumps(v).decode() for v in self.replaced_once.values()]},
            schema={"_key": pl.Int64, "_once": pl.Utf8},
        )
        first = pl.col("_arrival") == pl.col("_arrival").min().over("_key")
        return (
            versions.join(always, on="_key", how="left", maintain_order="left")
            .join(once, on="_key", how="left", maintain_order="left")
            .with_columns(_override=pl.coalesce("_always", pl.when(first).then(pl.col("_once"))))
            .drop("_always", "_once")
        )

    def outcome(self, mended: np.ndarray | None = None) -> dict[str, pl.Series]:
        """Truth columns: whether the key is broken, and the arrival of its first whole state (-1: none, or never broken)."""
        broken = np.zeros(len(self.keys), dtype=bool)
        quarantined = {f.key[self.keys.name] for f in self.faults if f.entity == self.entity and f.expected == "quarantined"}
        broken[self.keys.is_in(list(quarantined)).to_numpy()] = True
        return {
            "is_broken": pl.Series(broken),
            "mended_arrival": pl.Series(np.full(len(self.keys), -1) if mended is None else mended),
        }
