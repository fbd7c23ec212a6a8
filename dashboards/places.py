"""The places of the district that have a role of their own: whoever holds it sees the rows of that place and no others.

Read from the dbt seeds, which the dimensions of the marts are made of, so that roles exist before the first release does. Names and
clauses only: ``provision`` writes them into Superset. Imports nothing of Superset.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEEDS = Path(__file__).resolve().parents[1] / "dbt_project" / "seeds"
ROLE_NAME = re.compile(r"^(subdistrict_\d+|community_\d+) ")


@dataclass(frozen=True)
class Place:
    """A subdistrict or a community that exists today. ``key`` is what stays when the place gets another name."""

    key: str
    name_zh: str
    community_ids: tuple[str, ...]

    @property
    def role(self) -> str:
        """Name of its role, e.g. ``community_440304001019 沙埔头社区``."""
        return f"{self.key} {self.name_zh}"

    def clause(self, column: str) -> str:
        """What a row of the place fulfils; codes are digits, nothing of it comes from a request."""
        return f"{column} in ({', '.join(repr(code) for code in self.community_ids)})"


def key_of(role: str) -> str | None:
    """The place that a role belongs to; None for any other role."""
    found = ROLE_NAME.match(role)
    return found[1] if found else None


def _rows(name: str, folder: Path) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read(folder: Path = SEEDS) -> Iterator[Place]:
    """Every subdistrict and every community that exists today.

    Raises:
        ValueError: a code is no number.
    """
    communities = [row for row in _rows("community", folder) if not row["valid_to"]]
    if wrong := [row["community_id"] for row in communities if not row["community_id"].isdigit()]:
        raise ValueError(f"community codes that are no numbers: {', '.join(wrong)}")
    for row in _rows("subdistrict", folder):
        own = tuple(c["community_id"] for c in communities if c["subdistrict_id"] == row["subdistrict_id"])
        if own:
            yield Place(f"subdistrict_{row['subdistrict_id']}", row["name_zh"], own)
    for row in communities:
        yield Place(f"community_{row['community_id']}", row["name_full_zh"].removesuffix("居委会"), (row["community_id"],))
