"""Can a reader of the published counts work out what was withheld? Random tables go through the real macro in DuckDB.

What belongs here: the suppression of `macros/disclosure/withhold_small_cells.sql` alone. The table that residents get is attacked as a
whole in `tests/integration/test_marts.py`.

The attacker knows every figure that is shown, the physical part of every cell, shown or not, that totals are sums, that counts are
whole, and the rule itself: that a withheld community holds at least one sensitive incident. So the attack is on the sensitive parts.
The equations of areas in a tree form a totally unimodular matrix, so the bounds of the linear programme are whole numbers and are
the attacker's best ones.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import duckdb
import jinja2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

MACRO = Path(__file__).parents[2] / "dbt_project/macros/disclosure/withhold_small_cells.sql"
THRESHOLD = 10


@dataclass(frozen=True)
class Community:
    """One community's cell: subdistrict number, incidents about persons or enterprises, incidents about things."""

    subdistrict: int
    sensitive: int
    physical: int


def withheld(table: list[Community], threshold: int = THRESHOLD) -> dict[tuple[str, str], tuple[int, bool]]:
    """Runs the macro; gives (area_level, area_id) -> (sensitive count, is withheld)."""
    template = jinja2.Environment(extensions=["jinja2.ext.do"]).from_string(
        MACRO.read_text() + "{{ withhold_small_cells('cells', ['month', 'category_id']) }}"
    )
    values = ", ".join(
        f"('2026-10', 'safety', 's{c.subdistrict}', 'c{i:03}', {c.sensitive + c.physical}, {c.sensitive}, {threshold})"
        for i, c in enumerate(table)
    )
    sql = f"""
        with cells(month, category_id, subdistrict_id, community_id, incident_count, sensitive_count, minimum_count) as (
            values {values}
        ), {template.render()}
        select area_level, area_id, incident_count, is_withheld from suppressed
    """
    rows = duckdb.sql(sql).fetchall()
    assert len(rows) == len({(r[0], r[1]) for r in rows}), "an area twice"
    members = {"district": {"": table}, "subdistrict": defaultdict(list), "community": {}}
    for i, c in enumerate(table):
        members["subdistrict"][f"s{c.subdistrict}"].append(c)
        members["community"][f"c{i:03}"] = [c]
    result = {}
    for level, area, count, hidden in rows:
        assert count == sum(c.sensitive + c.physical for c in members[level][area])
        result[level, area] = (sum(c.sensitive for c in members[level][area]), hidden)
    return result


def system(table: list[Community], cells: dict[tuple[str, str], tuple[int, bool]]) -> tuple[list[tuple[str, str]], np.ndarray, np.ndarray]:
    """The attacker's equations over the withheld cells: names, matrix, right hand side."""
    unknown = [key for key, (_, hidden) in cells.items() if hidden]
    column = {key: j for j, key in enumerate(unknown)}
    relations: list[tuple[tuple[str, str], list[tuple[str, str]]]] = []
    for number in sorted({c.subdistrict for c in table}):
        children = [("community", f"c{i:03}") for i, c in enumerate(table) if c.subdistrict == number]
        relations.append((("subdistrict", f"s{number}"), children))
    relations.append((("district", ""), [total for total, _ in relations]))
    matrix, right = [], []
    for total, parts in relations:
        row, known = np.zeros(len(unknown)), 0
        for key, sign in [(total, -1), *((part, 1) for part in parts)]:
            count, hidden = cells[key]
            if hidden:
                row[column[key]] += sign
            else:
                known -= sign * count
        if row.any():
            matrix.append(row)
            right.append(known)
        else:
            assert known == 0, "published figures do not add up"
    return unknown, np.array(matrix).reshape(len(matrix), len(unknown)), np.array(right)


def derived_groups(table: list[Community], cells: dict[tuple[str, str], tuple[int, bool]]) -> list[list[Community]]:
    """The smallest sets of withheld communities whose sum follows from what is shown, by elimination of the unknown totals."""
    unknown, matrix, _ = system(table, cells)
    totals = [j for j, key in enumerate(unknown) if key[0] != "community"]
    rows = [row.copy() for row in matrix]
    for j in totals:  # Gauss: every row but one loses the unknown total, and that one is of no further use
        pivot = next((row for row in rows if row[j]), None)
        if pivot is None:
            continue
        rows = [row - pivot * row[j] / pivot[j] if row[j] else row for row in rows if row is not pivot]
    groups = []
    for row in rows:
        members = [unknown[j][1] for j in range(len(unknown)) if unknown[j][0] == "community" and row[j]]
        if members:
            groups.append([table[int(name[1:])] for name in members])
    return groups


def interval(key_index: int, matrix: np.ndarray, right: np.ndarray, lower: list[int]) -> tuple[float, float]:
    """The attacker's least and greatest possible value of one withheld cell."""
    cost = np.zeros(matrix.shape[1])
    cost[key_index] = 1
    bounds = [(low, None) for low in lower]
    least = linprog(cost, A_eq=matrix, b_eq=right, bounds=bounds)
    most = linprog(-cost, A_eq=matrix, b_eq=right, bounds=bounds)
    assert least.status == 0, "the true values must be among the attacker's solutions"
    return least.fun, np.inf if most.status == 3 else -most.fun


def attack(table: list[Community], threshold: int = THRESHOLD) -> dict[tuple[str, str], tuple[int, bool]]:
    """Fails if anything withheld can be worked out."""
    cells = withheld(table, threshold)
    for i, community in enumerate(table):
        _, hidden = cells["community", f"c{i:03}"]
        if 0 < community.sensitive < threshold:
            assert hidden, f"a small cell is shown: {community}"
        if community.sensitive == 0:
            assert not hidden, "a cell with nothing sensitive is withheld"
    for group in derived_groups(table, cells):
        assert len(group) >= 2, f"exactly one cell follows by subtraction: {group}"
        assert sum(c.sensitive for c in group) >= threshold, f"a small sum follows by subtraction: {group}"
    unknown, matrix, right = system(table, cells)
    if len(unknown) and len(matrix):
        lower = [1 if level == "community" else 0 for level, _ in unknown]
        for j, (level, _area) in enumerate(unknown):
            least, most = interval(j, matrix, right, lower)
            if level == "community":
                assert most - least >= threshold - 1 - 1e-6, f"{unknown[j]} is known to lie within {least} to {most}"
            else:
                assert most > least + 1e-6, f"the withheld total {unknown[j]} is {least}"
    return cells


counts = st.one_of(st.just(0), st.integers(1, 9), st.integers(1, 2), st.integers(8, 12), st.integers(10, 60))
communities = st.builds(
    Community,
    subdistrict=st.integers(0, 4),
    sensitive=counts,
    physical=st.one_of(st.just(0), st.integers(0, 40)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(communities, min_size=1, max_size=18))
def test_nothing_withheld_can_be_worked_out(table: list[Community]) -> None:
    attack(table)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.builds(Community, st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12))
def test_sparse_tables(table: list[Community]) -> None:
    attack(table)


def test_every_small_table_of_two_subdistricts() -> None:
    """Threshold 3, every combination of 0 to 3 in two subdistricts of two communities: no corner is left to chance."""
    for a, b, c, d in itertools.product(range(4), repeat=4):
        attack([Community(0, a, 0), Community(0, b, 0), Community(1, c, 0), Community(1, d, 0)], threshold=3)


def hidden_of(table: list[Community]) -> set[str]:
    return {area or level for (level, area), (_, hidden) in attack(table).items() if hidden}


@pytest.mark.parametrize(
    ("case", "table", "expected"),
    [
        ("nothing sensitive", [Community(0, 0, 3), Community(0, 0, 0)], set()),
        ("ten is shown", [Community(0, 10, 0), Community(0, 30, 1)], set()),
        ("one small cell takes the smallest safe neighbour", [Community(0, 4, 9), Community(0, 30, 0), Community(0, 20, 5),
                                                             Community(0, 0, 1)], {"c000", "c002"}),
        ("two small cells protect each other", [Community(0, 6, 0), Community(0, 6, 0), Community(0, 30, 0)], {"c000", "c001"}),
        ("ten ones are ten ones: the sum alone would say so", [*[Community(0, 1, 0)] * 10, Community(0, 12, 0)],
         {*(f"c{i:03}" for i in range(11))}),
        ("no safe neighbour: two totals go, and the second withholds a cell of its own",
         [Community(0, 3, 0), Community(0, 0, 8), Community(1, 40, 0), Community(1, 15, 0), Community(2, 90, 0)],
         {"c000", "s0", "c003", "s1"}),
        ("nothing large anywhere: the district's total goes", [Community(0, 3, 2), Community(1, 0, 7)], {"c000", "s0", "district"}),
    ],
)  # fmt: skip
def test_worked_by_hand(case: str, table: list[Community], expected: set[str]) -> None:
    assert hidden_of(table) == expected, case


def test_the_attacker_can_win() -> None:
    """The same attack breaks a table that has primary suppression alone: a test that cannot fail proves nothing."""
    table = [Community(0, 4, 0), Community(0, 30, 0)]
    cells = {
        ("community", "c000"): (4, True),
        ("community", "c001"): (30, False),
        ("subdistrict", "s0"): (34, False),
        ("district", ""): (34, False),
    }
    assert derived_groups(table, cells) == [[table[0]]]
    _, matrix, right = system(table, cells)
    assert interval(0, matrix, right, [1]) == (4, 4)
