"""The suites agree with themselves, with Great Expectations and with both languages."""

from __future__ import annotations

import re
from string import Template

import pytest

from expectations.suites_reader import TEXTS, Entry, Suite, read_suites

SUITES = read_suites()
ENTRIES = [(suite, entry) for suite in SUITES for entry in suite.entries]
NAMES = [f"{suite.name}/{entry.name}" for suite, entry in ENTRIES]
#: What ``${...}`` may name; see ``gate._parameters`` and ``gate._subjects``.
PARAMETERS = {
    "newest_month", "previous_month", "newest_loads", "systems_down", "required_columns", "personal_columns", "closed_columns",
    "listed_tables", "subject", "key", "where", "key_is_null", "condition",
}  # fmt: skip
PLACEHOLDERS = {"count", "places", "subject", "key", "column"}
FORBIDDEN = {"person_id", "id_number", "phone", "plate", "name_hash", "address"}


def queries(entry: Entry) -> list[str]:
    return [text for text in (entry.kwargs.get("unexpected_rows_query", ""), entry.places) if text]


def test_every_purpose_has_a_suite() -> None:
    expected = {"volume", "freshness", "quarantine", "drift", "reconciliation", "distribution", "interface", "privacy", "disclosure"}
    assert {suite.name for suite in SUITES} == expected


@pytest.mark.parametrize(("suite", "entry"), ENTRIES, ids=NAMES)
def test_texts_are_whole_in_both_languages(suite: Suite, entry: Entry) -> None:
    for text in TEXTS:
        assert entry.texts[text], f"{text} is empty"
        assert {name for name in re.findall(r"{(\w+)}", entry.texts[text])} <= PLACEHOLDERS
        chinese = re.search(r"[一-鿿]", entry.texts[text]) is not None
        if text.endswith("_zh"):
            assert chinese, f"{text} holds no Chinese"
        elif text.endswith("_en"):
            assert not chinese, f"{text} holds Chinese"
    assert suite.title_zh and suite.title_en


@pytest.mark.parametrize(("suite", "entry"), ENTRIES, ids=NAMES)
def test_great_expectations_knows_the_expectation(suite: Suite, entry: Entry) -> None:
    from great_expectations import expectations  # noqa: F401  registers them
    from great_expectations.expectations.registry import get_expectation_impl

    fields = get_expectation_impl(entry.type).__fields__
    assert set(entry.kwargs) <= set(fields)


@pytest.mark.parametrize(("suite", "entry"), ENTRIES, ids=NAMES)
def test_queries_use_known_parameters_and_judge_the_batch(suite: Suite, entry: Entry) -> None:
    for query in queries(entry):
        assert set(Template(query).get_identifiers()) <= PARAMETERS
        assert Template(query).is_valid()
        assert "{batch}" in query
    if "{places}" in entry.texts["fails_zh"]:
        assert entry.places, "the message names places, and there is no SQL for them"


def test_forbidden_names_are_those_of_the_design() -> None:
    privacy = next(suite for suite in SUITES if suite.name == "privacy")
    entry = next(entry for entry in privacy.entries if entry.name == "no_forbidden_column_name")
    assert set(entry.kwargs["value_set"]) == FORBIDDEN
    assert set(entry.databases) == {"marts", "open_data"}
    assert {name for name in re.findall(r"'(\w+)'", entry.places)} == FORBIDDEN


def test_privacy_and_disclosure_are_critical() -> None:
    lenient = {
        f"{suite.name}/{entry.name}"
        for suite in SUITES
        if suite.name in ("privacy", "disclosure")
        for entry in suite.entries
        if entry.severity != "critical"
    }
    assert lenient == {"privacy/no_name_like_a_forbidden_one"}


def test_texts_are_searched_in_every_schema_that_leaves() -> None:
    for suite in SUITES:
        for entry in suite.entries:
            if entry.for_each == "table_with_text":
                assert set(entry.schemas) == {"mart", "open_data", "shareback"}
                assert entry.finds in ("identity_number", "mobile_number")


def test_listed_tables_lie_in_their_file() -> None:
    for suite in SUITES:
        for table in suite.tables:
            assert (table.name.split(".")[0] == "open_data") == (table.database == "open_data"), table.name
