"""The communities and incident types of the reference district, read from the package's own tables.

Belongs here: who lives where and which community followed which. The product's own copy of these facts is a set of dbt
seeds; it never reads this module.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np

from sources.reference_district.district import PACKAGE, District

SUBDISTRICTS = {
    "440304001": "南园街道",
    "440304002": "园岭街道",
    "440304004": "福田街道",
    "440304005": "沙头街道",
    "440304006": "香蜜湖街道",
    "440304007": "梅林街道",
    "440304008": "莲花街道",
    "440304009": "华富街道",
    "440304010": "福保街道",
    "440304011": "华强北街道",
    "440304400": "福田保税区",
}


@dataclass(frozen=True)
class Community:
    code: str
    name: str
    subdistrict: str
    kind: str  # garden | village | mixed | '' (virtual)
    merged_into: str
    merged_day: int | None
    population: int
    households: int

    @property
    def grids(self) -> int:
        """Number of grids; a grid holds about 1,800 people."""
        return int(np.clip(round(self.population / 1800), 3, 20))


@dataclass(frozen=True)
class IncidentType:
    code: str
    name: str
    category: str
    department: str
    due_hours: int
    weight: float


@cache
def _communities() -> tuple[Community, ...]:
    with open(PACKAGE / "communities.csv", encoding="utf-8", newline="") as file:
        return tuple(
            Community(
                row["community_code"],
                row["name_zh"],
                row["subdistrict_code"],
                row["community_type"],
                row["merged_into"],
                (date.fromisoformat(row["valid_to"]) - date(1970, 1, 1)).days if row["valid_to"] else None,
                int(row["population_count"]),
                int(row["household_count"]),
            )
            for row in csv.DictReader(file)
        )


def communities(district: District) -> tuple[Community, ...]:
    """The communities of this scale, the merged ones and the virtual one among them, ordered by code."""
    chosen = district.scale.subdistricts
    return tuple(c for c in _communities() if not chosen or c.subdistrict in chosen)


def incident_types() -> tuple[IncidentType, ...]:
    """The types that grid workers report (weight above 0); the others are cases of the police, or stand for unknown codes."""
    return tuple(t for t in all_incident_types() if t.weight > 0)


@cache
def all_incident_types() -> tuple[IncidentType, ...]:
    with open(PACKAGE / "incident_types.csv", encoding="utf-8", newline="") as file:
        return tuple(
            IncidentType(r["code"], r["name_zh"], r["category_id"], r["department"], int(r["due_hours"]), float(r["weight"]))
            for r in csv.DictReader(file)
        )


def center(district: District, code: str) -> tuple[float, float]:
    """Longitude and latitude of a community's middle; generated, as there is no public geometry."""
    x, y = district.rng("place", code).random(2)
    return 114.01 + 0.09 * float(x), 22.515 + 0.055 * float(y)


def populations(places: tuple[Community, ...], days: np.ndarray) -> np.ndarray:
    """People by community and day, shape (communities, days): a merged community's go to the one it merged into."""
    people = np.array([[c.population] * len(days) for c in places], dtype=float)
    index = {c.code: i for i, c in enumerate(places)}
    for i, c in enumerate(places):
        if c.merged_day is not None:
            gone = days >= c.merged_day
            people[index[c.merged_into], gone] += c.population
            people[i, gone] = 0
    return people


def codes_on(places: tuple[Community, ...], index: np.ndarray, days: np.ndarray) -> np.ndarray:
    """The code in force on a day for things that lie in community `index`; shape as `index`, dtype U12."""
    codes = np.array([c.code for c in places])[index]
    for i, c in enumerate(places):
        if c.merged_day is not None:
            codes[(index == i) & (days >= c.merged_day)] = c.merged_into
    return codes
