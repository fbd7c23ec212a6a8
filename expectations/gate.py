"""The gate: judges batches and the candidate of a release, and says why in a paragraph. The only module other packages call.

What is expected stands in ``suites/*.yml``; how it is run in ``judging``; what it looks like in ``data_docs``. Here the two are
brought together: which tables there are, the parameters of this build, and findings made of outcomes. Nothing here mends data.

    python -m expectations.gate --candidate data/published/<release_id>
    python -m expectations.gate --batches data/build
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from string import Template
from typing import Any

from expectations.judging import PSEUDO_TABLES, Check, Outcome, judge
from expectations.suites_reader import Entry, Suite, Table, read_suites
from expectations.verdict import Finding, Verdict
from sources.errors import SscError
from sources.settings import data_dir

__all__ = ["Finding", "Verdict", "judge_batches", "judge_candidate"]

SHANGHAI = timezone(timedelta(hours=8))
#: Columns made for enterprise codes (GB 32100), which look like identity numbers.
ENTERPRISE_CODE_COLUMNS = ("enterprise_id", "enterprise_code", "credit_code")
#: How many places a message names.
PLACES_SHOWN = 5
FILES = {"batches": ("marts", "warehouse"), "candidate": ("marts", "open_data")}
OPTIONAL_FILES = ("warehouse",)
SEVERITIES = {"critical": "关键 critical", "warning": "提醒 warning"}


def judge_batches(build_dir: Path, docs_dir: Path | None) -> Verdict:
    """Judge what the newest loads brought: volume, freshness, quarantined share, drift, reconciliation, distribution.

    Args:
        build_dir: folder of ``marts.duckdb`` (schema quality) and ``warehouse.duckdb`` (schema staging).
        docs_dir: folder of the Data Docs, or None to write none.

    Raises:
        SscError: a file is locked by a writer, a suite is wrong, or the list of systems that are down cannot be read.
    """
    return _judge("batches", build_dir, docs_dir)


def judge_candidate(candidate_dir: Path, docs_dir: Path | None) -> Verdict:
    """Judge the copied files of a release: contents, reconciliation, privacy, disclosure control.

    Args:
        candidate_dir: folder of ``marts.duckdb`` and ``open_data.duckdb``; its name is the name of the run.
        docs_dir: folder of the Data Docs, or None to write none.

    Raises:
        SscError: a file is locked by a writer, or a suite is wrong.
    """
    return _judge("candidate", candidate_dir, docs_dir)


@dataclass(frozen=True)
class _File:
    """What is known of a DuckDB file before it is judged: table -> column -> type."""

    path: Path
    tables: dict[str, dict[str, str]]


@dataclass
class _Plan:
    """Checks to run, how to speak of them, and findings that need no run."""

    checks: list[Check] = field(default_factory=list)
    entries: dict[int, tuple[Suite, Entry, dict[str, str]]] = field(default_factory=dict)
    findings: dict[int, list[Finding]] = field(default_factory=dict)
    size: int = 0

    def next_key(self) -> int:
        self.size += 1
        return self.size


def _judge(subject: str, folder: Path, docs_dir: Path | None) -> Verdict:
    folder = Path(folder)
    suites = [suite for suite in read_suites() if subject in suite.phases]
    plan = _Plan()
    files: dict[str, _File] = {}
    for database in FILES[subject]:
        path = folder / f"{database}.duckdb"
        opened = _open(path)
        if isinstance(opened, _File):
            files[database] = opened
        else:
            severity = "warning" if database in OPTIONAL_FILES else "critical"
            plan.findings[plan.next_key()] = [_no_file(path, opened, severity)]

    parameters = _parameters(subject, files)
    if subject == "candidate" and "marts" in files and not parameters["dictionary_is_readable"]:
        plan.findings[plan.next_key()] = [_no_dictionary()]
    for suite in suites:
        for entry in suite.entries:
            for database in entry.databases:
                if database in files:
                    _plan(plan, suites, suite, entry, database, files[database], parameters)

    as_of: datetime = parameters["as_of"]
    run = f"{subject}-{as_of:%Y-%m-%dT%H%MZ}" if subject == "batches" else f"candidate-{folder.resolve().name}"
    outcomes, pages = judge({name: file.path for name, file in files.items()}, plan.checks, run=run, run_time=as_of)
    for check in plan.checks:
        plan.findings[check.key] = list(_findings(check, outcomes[check.key], *plan.entries[check.key]))
    findings = [finding for key in sorted(plan.findings) for finding in plan.findings[key]]
    if docs_dir is None:
        return Verdict(subject, run, findings)

    from expectations.data_docs import write_run

    docs = write_run(Path(docs_dir), Verdict(subject, run, findings), pages, suites, as_of)
    return Verdict(subject, run, findings, docs)


def _open(path: Path) -> _File | str:
    """The tables of a DuckDB file, or why it cannot be read."""
    import duckdb

    if not path.exists():
        return "missing"
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            rows = connection.execute(
                "select table_schema || '.' || table_name, column_name, data_type from information_schema.columns "
                "where table_catalog = current_database() and table_schema not in ('information_schema', 'pg_catalog') "
                "order by table_schema, table_name, ordinal_position"
            ).fetchall()
    except duckdb.Error as error:
        if "lock" in str(error).lower() or "different configuration" in str(error):
            raise SscError(
                "a writer has this file open",
                where=str(path),
                next_step="wait until the running build has ended (see Dagster), then judge again",
            ) from error
        return type(error).__name__
    tables: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        tables.setdefault(table, {})[column] = kind
    return _File(path, tables)


def _no_file(path: Path, why: str, severity: str) -> Finding:
    missing = why == "missing"
    return Finding(
        suite="interface",
        expectation="file_is_there",
        table=path.name,
        column=None,
        passed=False,
        severity=severity,
        observed="missing" if missing else f"not readable: {why}",
        message_zh=f"缺少文件 {path.name}" if missing else f"文件 {path.name} 无法读取（{why}）",
        message_en=f"{path.name} is missing" if missing else f"{path.name} cannot be read ({why})",
        next_step="重新构建数仓并重新复制候选发布",
        next_step_en="build the warehouse again and copy the candidate again",
    )


def _no_dictionary() -> Finding:
    """Without the dictionary no column is known to be harmless: privacy fails closed."""
    return Finding(
        suite="privacy",
        expectation="dictionary_is_readable",
        table="governance.data_dictionary",
        column=None,
        passed=False,
        severity="critical",
        observed="not readable",
        message_zh="数据目录 governance.data_dictionary 为空或缺列，无法判断哪些列属于个人信息",
        message_en="governance.data_dictionary is empty or lacks columns, so no column is known not to be personal",
        next_step="运行 `make generate` 并重新构建数据目录",
        next_step_en="run `make generate` and build the data dictionary again",
    )


# ---------------------------------------------------------------- parameters


def _parameters(subject: str, files: dict[str, _File]) -> dict[str, Any]:
    """What the ``${...}`` of the suites stand for. Values: text, or a list of names (a list in SQL)."""
    import duckdb

    as_of: datetime | None = None
    newest_month = ""
    newest_loads: list[str] = []
    dictionary: list[tuple[Any, ...]] = []
    if marts := files.get("marts"):
        with duckdb.connect(str(marts.path), read_only=True) as connection:
            for table in ("quality.freshness", "quality.load_ledger"):
                as_of = as_of or _moment(next((row[0] for row in _rows(connection, f"select max(window_until) from {table}")), None))
            newest_loads = [
                row[0]
                for row in _rows(
                    connection,
                    "select max(load_id) from quality.load_ledger where try_cast(landed_count as bigint) > 0 "
                    'group by "system", entity order by 1',
                )
            ]
            dictionary = _rows(
                connection,
                "select column_name, source_name, coalesce(pi_class, 'sensitive'), coalesce(opening, '不予') "
                "from governance.data_dictionary",
            )
    as_of = as_of or datetime(1970, 1, 1, tzinfo=UTC)
    if public := files.get("open_data"):
        with duckdb.connect(str(public.path), read_only=True) as connection:
            rows = _rows(connection, "select max(latest_month) from open_data.open_data.about")
            if rows and re.fullmatch(r"\d{4}-\d{2}", str(rows[0][0])):
                newest_month = str(rows[0][0])
    if not newest_month:
        newest_month = _month_before(f"{as_of.astimezone(SHANGHAI):%Y-%m}")

    return {
        "as_of": as_of,
        "newest_month": newest_month,
        "previous_month": _month_before(newest_month),
        "newest_loads": newest_loads,
        "systems_down": _systems_down(as_of) if subject == "batches" else [],
        "required_columns": _required_columns() if subject == "batches" else [],
        "dictionary_is_readable": bool(dictionary),
        "personal_columns": _names(dictionary, lambda row: row[2] != "none", every=False),
        "closed_columns": _names(dictionary, lambda row: row[3] == "不予", every=True),
        "listed_tables": sorted(table.name for suite in read_suites() for table in suite.tables if table.database == "open_data"),
    }


def _rows(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query, none if its table or columns are not there: what lacks them is found by the expectations."""
    import duckdb

    try:
        return list(connection.execute(sql).fetchall())
    except duckdb.Error:
        return []


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return None


def _month_before(month: str) -> str:
    return f"{date.fromisoformat(f'{month}-01') - timedelta(days=1):%Y-%m}"


def _names(dictionary: list[tuple[Any, ...]], holds: Any, *, every: bool) -> list[str]:
    """Names (ours and the departments') without underscores and case, for which ``holds`` is true of any, or of every, row."""
    judged: dict[str, list[bool]] = {}
    for row in dictionary:
        for name in {str(row[0]), str(row[1] or row[0])}:
            judged.setdefault(name.lower().replace("_", ""), []).append(holds(row))
    return sorted(name for name, values in judged.items() if (all(values) if every else any(values)))


def _required_columns() -> list[str]:
    """``system/entity/column`` of the required columns of the catalogue, by our name and by the department's."""
    from sources.catalogue import load_catalogue

    return sorted(
        f"{system.id}/{entity.name}/{name}"
        for system in load_catalogue().values()
        for entity in system.entities
        for column in entity.columns
        if column.required
        for name in {column.name, column.source_name}
    )


def _systems_down(as_of: datetime) -> list[str]:
    """Systems that their department reported down at ``as_of``.

    ``data/systems_down.yml`` (or the file that ``SSC_SYSTEMS_DOWN`` names) is a list of ``{system, since, until, reason}``; dates
    are Shanghai days, both included; ``until`` may be left out. No file, nothing down.
    """
    import yaml

    path = Path(os.environ.get("SSC_SYSTEMS_DOWN") or data_dir() / "systems_down.yml")
    if not path.exists():
        return []

    def wrong(what: str) -> SscError:
        return SscError(
            what,
            where=str(path),
            next_step="write a list such as `- {system: waterlogging, since: 2026-10-03, reason: server moved}`",
        )

    try:
        items = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except yaml.YAMLError as error:
        raise wrong("is no YAML") from error
    # what was loaded at midnight belongs to the day that ended
    today = (as_of - timedelta(microseconds=1)).astimezone(SHANGHAI).date()
    down = []
    for number, item in enumerate(items if isinstance(items, list) else [items], 1):
        if not isinstance(item, dict) or not item.get("system"):
            raise wrong(f"item {number} names no system")
        since, until = item.get("since") or date.min, item.get("until") or date.max
        if not (isinstance(since, date) and isinstance(until, date)):
            raise wrong(f"item {number}: since and until are dates (YYYY-MM-DD)")
        if since <= today <= until:
            down.append(str(item["system"]))
    return sorted(set(down))


# ---------------------------------------------------------------- checks


def _plan(plan: _Plan, suites: list[Suite], suite: Suite, entry: Entry, database: str, file: _File, parameters: dict[str, Any]) -> None:
    """Add what one entry means for one file: a check for each table it is about, or a finding that it cannot be judged."""
    interface = [table for each in suites for table in each.tables if table.database == database]
    for table, extra in _subjects(entry, file, interface, parameters):
        key = plan.next_key()
        if table not in PSEUDO_TABLES and table not in file.tables:
            listed = any(each.name == table for each in interface)
            if not (entry.optional or listed or _already_missing(plan, suite, table)):
                plan.findings[key] = [_no_table(suite, entry, table)]
            continue
        values = {**parameters, **extra}
        named = f"{database}.duckdb" if table in PSEUDO_TABLES else table
        subject = {"subject": extra.get("subject", named), "key": extra.get("key", "")}
        plan.entries[key] = (suite, entry, subject)
        plan.checks.append(
            Check(
                key=key,
                suite=suite.name,
                name=entry.name,
                database=database,
                table=table,
                expectation=entry.type,
                kwargs={name: _filled(value, values) for name, value in entry.kwargs.items()},
                severity=entry.severity,
                description=f"{_said(entry, 'says_zh', subject)} · {_said(entry, 'says_en', subject)}（{SEVERITIES[entry.severity]}）",
                notes=entry.texts["reason"],
                places=extra.get("places") or _sql(entry.places, values),
            )
        )


def _subjects(entry: Entry, file: _File, interface: list[Table], parameters: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """The tables an entry is about, each with the parameters that belong to it."""
    if entry.table:
        yield entry.table, {}
    elif entry.for_each == "required_table":
        for table in interface:
            yield (
                "catalog.tables",
                {"subject": table.name},
            )
    elif entry.for_each == "table_with_text":
        for name, columns in file.tables.items():
            if name.split(".", 1)[0] in entry.schemas and (conditions := _text_conditions(entry, columns, parameters)):
                yield (
                    name,
                    {
                        "condition": " or ".join(f"({condition})" for condition in conditions.values()),
                        "places": " union all ".join(
                            f"select '{column}', count(*) from {{batch}} where {condition} having count(*) > 0"
                            for column, condition in conditions.items()
                        ),
                    },
                )
    else:
        wanted = {"keyed_table": lambda t: bool(t.key), "filled_table": lambda t: t.rows == "some"}.get(
            entry.for_each, lambda t: t.rows == "one"
        )
        for table in filter(wanted, interface):
            quoted = [f'"{column}"' for column in table.key]
            yield (
                table.name,
                {
                    "subject": table.name,
                    "key": ", ".join(quoted),
                    "where": table.where,
                    "key_is_null": " or ".join(f"{column} is null" for column in quoted),
                },
            )


def _text_conditions(entry: Entry, columns: dict[str, str], parameters: dict[str, Any]) -> dict[str, str]:
    """Column -> condition, for the columns that may hold a text (identity numbers may also hide in whole numbers)."""
    from expectations.identifiers import has_identity_number, has_mobile_number

    latest_birth = f"{parameters['as_of'].astimezone(SHANGHAI):%Y-%m-%d}"
    conditions = {}
    for column, kind in columns.items():
        is_text = any(word in kind for word in ("VARCHAR", "JSON", "ENUM", "BLOB", "UNION"))
        if entry.finds == "mobile_number" and is_text:
            conditions[column] = has_mobile_number(column)
        elif entry.finds == "identity_number" and (is_text or kind in ("BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT")):
            conditions[column] = has_identity_number(
                column, latest_birth=latest_birth, holds_enterprise_codes=column.lower() in ENTERPRISE_CODE_COLUMNS
            )
    return conditions


def _filled(value: Any, values: dict[str, Any]) -> Any:
    """A kwarg with its parameters filled in; a value that is a list parameter and nothing else becomes the list."""
    if isinstance(value, list):
        return [_filled(each, values) for each in value]
    if not isinstance(value, str):
        return value
    name = value[2:-1] if value.startswith("${") and value.endswith("}") else ""
    return values[name] if isinstance(values.get(name), list) else _sql(value, values)


def _sql(text: str, values: dict[str, Any]) -> str:
    return Template(text).substitute({name: _literal(value) for name, value in values.items()}).strip()


def _literal(value: Any) -> str:
    """A list as the inside of ``in (...)``, never empty; anything else as it is."""
    if isinstance(value, list):
        return ", ".join("'" + str(each).replace("'", "''") + "'" for each in value) or "''"
    return str(value)


def _already_missing(plan: _Plan, suite: Suite, table: str) -> bool:
    return any(
        finding.suite == suite.name and finding.table == table and finding.observed == "missing"
        for findings in plan.findings.values()
        for finding in findings
    )


# ---------------------------------------------------------------- findings


def _said(entry: Entry, text: str, subject: dict[str, str], **more: Any) -> str:
    return entry.texts[text].format_map(
        {"count": "", "places": "", "column": "", **{k: v.replace('"', "") for k, v in subject.items()}, **more}
    )


def _no_table(suite: Suite, entry: Entry, table: str) -> Finding:
    return Finding(
        suite=suite.name,
        expectation=entry.name,
        table=table,
        column=None,
        passed=False,
        severity=entry.severity,
        observed="missing",
        message_zh=f"缺少表 {table}，无法判断“{suite.title_zh}”",
        message_en=f"{table} is missing, so {suite.title_en.lower()} cannot be judged",
        next_step="运行 dbt 构建该表后再判断",
        next_step_en="build the table with dbt, then judge again",
    )


def _findings(check: Check, outcome: Outcome, suite: Suite, entry: Entry, subject: dict[str, str]) -> Iterator[Finding]:
    """What one outcome means to a person: one finding, or one for each column where texts were searched."""
    table = subject["subject"]
    column = check.kwargs.get("column") if check.table not in PSEUDO_TABLES else None

    def finding(column: str | None, observed: str, zh: str, en: str) -> Finding:
        step_zh, step_en = _said(entry, "next_zh", subject), _said(entry, "next_en", subject)
        return Finding(suite.name, entry.name, table, column, outcome.passed, entry.severity, observed, zh, en, step_zh, step_en)

    if outcome.passed:
        yield finding(column, "ok", _said(entry, "says_zh", subject), _said(entry, "says_en", subject))
    elif outcome.error:
        yield finding(
            column,
            f"could not be judged: {outcome.error}",
            f"无法判断“{_said(entry, 'says_zh', subject)}”（{table}）：{outcome.error}",
            f'"{_said(entry, "says_en", subject)}" could not be judged ({table}): {outcome.error}',
        )
    elif entry.for_each == "table_with_text" and outcome.places:
        for name, count in outcome.places:
            more = {"column": name, "count": count}
            zh, en = _said(entry, "fails_zh", subject, **more), _said(entry, "fails_en", subject, **more)
            yield finding(name, f"{count} rows", zh, en)
    else:
        count = outcome.count or len(outcome.places)
        names = [str(place[0]) for place in outcome.places]
        shown = "、".join(names[:PLACES_SHOWN]) + (" …" if len(names) > PLACES_SHOWN else "")
        more = {"count": count, "places": shown}
        zh = _said(entry, "fails_zh", subject, **more)
        en = _said(entry, "fails_en", subject, **{**more, "places": shown.replace("、", ", ")})
        yield finding(column, f"{count} unexpected" if count else "not as expected", zh, en)


# ---------------------------------------------------------------- command


def main(arguments: list[str] | None = None) -> int:
    """Print the verdict for people; 0 passed, 1 refused, 2 could not be judged."""
    parser = argparse.ArgumentParser(prog="python -m expectations.gate", description="数据闸门 / the gate")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--candidate", type=Path, metavar="DIR", help="folder with marts.duckdb and open_data.duckdb")
    what.add_argument("--batches", type=Path, metavar="DIR", help="folder with marts.duckdb and warehouse.duckdb")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="write Data Docs there")
    options = parser.parse_args(arguments)
    try:
        judge_folder = judge_candidate if options.candidate else judge_batches
        verdict = judge_folder(options.candidate or options.batches, options.docs)
    except SscError as error:
        print(error, file=sys.stderr)
        return 2
    for finding in verdict.findings:
        if not finding.passed:
            mark = {"critical": "✘", "warning": "!"}[finding.severity]
            print(f"{mark} {SEVERITIES[finding.severity]}  {finding.suite}/{finding.expectation}  {finding.where}  ({finding.observed})")
    passed = sum(finding.passed for finding in verdict.findings)
    print(f"✔ {passed}/{len(verdict.findings)} 项满足 passed\n\n{verdict.paragraph()}")
    if verdict.docs:
        print(f"\nData Docs: {verdict.docs}")
    return 1 if verdict.refused else 0


if __name__ == "__main__":
    sys.exit(main())
