"""The record of what was planted wrong, and what a right product makes of it. The planting itself is with the generators."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sources.reference_district.district import iso


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
