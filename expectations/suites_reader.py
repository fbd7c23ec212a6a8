"""Reads ``suites/*.yml`` and says what is wrong with them. What an expectation means and how it runs is not decided here."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sources.errors import SscError

PHASES = ("batches", "candidate")
DATABASES = ("marts", "open_data", "warehouse")
SEVERITIES = ("critical", "warning")
EVERY = ("required_table", "keyed_table", "filled_table", "one_row_table", "table_with_text")
TEXTS = ("says_zh", "says_en", "fails_zh", "fails_en", "next_zh", "next_en", "reason")
ENTRY_KEYS = {
    "name", "table", "for_each", "schemas", "finds", "databases", "optional", "type", "kwargs", "severity", "places", *TEXTS,
}  # fmt: skip
SUITE_KEYS = {"suite", "title_zh", "title_en", "phases", "databases", "tables", "expectations"}


class SuiteError(SscError):
    """A file of ``expectations/suites`` is wrong."""


@dataclass(frozen=True)
class Entry:
    """One expectation as written. Texts and SQL hold ``${parameter}``; ``{batch}`` in SQL is the table that is judged.

    ``table`` is ``schema.table``, ``catalog.tables`` or ``catalog.columns``; empty where ``for_each`` says what it is
    repeated for.
    ``places`` is SQL of one text column: where it failed, as system/entity, load or table.column, never a person's data.
    """

    name: str
    type: str
    severity: str
    databases: tuple[str, ...]
    texts: dict[str, str]
    table: str = ""
    for_each: str = ""
    finds: str = ""
    schemas: tuple[str, ...] = ()
    optional: bool = False
    kwargs: dict[str, Any] = field(default_factory=dict)
    places: str = ""


@dataclass(frozen=True)
class Table:
    """What a release must hold of one table. ``rows`` is ``some`` (at least one), ``one``, or ``any``."""

    database: str
    name: str
    key: tuple[str, ...]
    where: str
    rows: str


@dataclass(frozen=True)
class Suite:
    """One file."""

    name: str
    title_zh: str
    title_en: str
    phases: tuple[str, ...]
    entries: tuple[Entry, ...]
    tables: tuple[Table, ...]


@cache
def read_suites(folder: Path | None = None) -> tuple[Suite, ...]:
    """Every suite of ``folder`` (default ``expectations/suites``), by name.

    Raises:
        SuiteError: with every fault of every file, one to a line.
    """
    folder = folder or Path(__file__).with_name("suites")
    faults: list[str] = []
    suites = [_suite(path, faults) for path in sorted(folder.glob("*.yml"))]
    if faults:
        raise SuiteError(
            f"{len(faults)} fault(s):\n  " + "\n  ".join(faults),
            where="expectations/suites",
            next_step="mend the entries named above, then run `pytest tests/contracts/test_suites.py`",
        )
    return tuple(suites)


def _suite(path: Path, faults: list[str]) -> Suite:
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        faults.append(f"{path.name}: is no YAML ({error})")
        document = {}

    def fault(what: str) -> None:
        faults.append(f"{path.name}: {what}")

    for key in sorted(set(document) - SUITE_KEYS):
        fault(f"unknown key {key!r}; known are {', '.join(sorted(SUITE_KEYS))}")
    for key in sorted({"suite", "title_zh", "title_en", "phases", "databases", "expectations"} - set(document)):
        fault(f"key {key!r} is missing")
    if document.get("suite") not in (None, path.stem):
        fault(f"suite {document['suite']!r} must be called like its file, {path.stem!r}")
    for phase in document.get("phases", ()):
        if phase not in PHASES:
            fault(f"unknown phase {phase!r}; known are {', '.join(PHASES)}")
    entries = tuple(_entry(item, document, fault) for item in document.get("expectations", ()))
    names = [entry.name for entry in entries]
    for name in sorted({name for name in names if names.count(name) > 1}):
        fault(f"expectation {name!r} stands there twice")
    tables = tuple(
        Table(database, name, tuple(spec.get("key", ())), spec.get("where", "true"), spec.get("rows", "any"))
        for database, specs in document.get("tables", {}).items()
        for name, spec in specs.items()
    )
    for table in tables:
        if table.rows not in ("any", "some", "one"):
            fault(f"table {table.name}: rows is any, some or one, not {table.rows!r}")
    return Suite(
        name=path.stem,
        title_zh=document.get("title_zh", path.stem),
        title_en=document.get("title_en", path.stem),
        phases=tuple(document.get("phases", ())),
        entries=entries,
        tables=tables,
    )


def _entry(item: dict[str, Any], document: dict[str, Any], fault: Any) -> Entry:
    name = str(item.get("name", "?"))
    for key in sorted(set(item) - ENTRY_KEYS):
        fault(f"{name}: unknown key {key!r}; known are {', '.join(sorted(ENTRY_KEYS))}")
    for key in sorted({"name", "type", "severity", *TEXTS} - set(item)):
        fault(f"{name}: key {key!r} is missing")
    if item.get("severity") not in SEVERITIES:
        fault(f"{name}: severity is {' or '.join(SEVERITIES)}, not {item.get('severity')!r}")
    if ("table" in item) == ("for_each" in item):
        fault(f"{name}: needs either a table or for_each")
    if item.get("for_each", EVERY[0]) not in EVERY:
        fault(f"{name}: unknown for_each {item['for_each']!r}; known are {', '.join(EVERY)}")
    databases = tuple(item.get("databases") or document.get("databases") or ())
    for database in databases:
        if database not in DATABASES:
            fault(f"{name}: unknown database {database!r}; known are {', '.join(DATABASES)}")
    return Entry(
        name=name,
        type=str(item.get("type", "")),
        severity=str(item.get("severity", "critical")),
        databases=databases,
        texts={key: " ".join(str(item.get(key, "")).split()) for key in TEXTS},
        table=item.get("table", ""),
        for_each=item.get("for_each", ""),
        finds=item.get("finds", ""),
        schemas=tuple(item.get("schemas", ())),
        optional=bool(item.get("optional", False)),
        kwargs=dict(item.get("kwargs", {})),
        places=item.get("places", ""),
    )
