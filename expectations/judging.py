"""Runs prepared checks through Great Expectations over DuckDB files, which are named like their database.

Knows nothing about suites, parameters or messages.

Great Expectations takes seconds to import, so it is imported where it is used.
"""

from __future__ import annotations

import functools
import logging
import re
import warnings
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

CATALOG_TABLES = """
    select table_schema, table_name, table_schema || '.' || table_name as table_key, table_type
    from information_schema.tables
    where table_catalog = current_database() and table_schema not in ('information_schema', 'pg_catalog')
"""
CATALOG_COLUMNS = """
    select table_schema, table_schema || '.' || table_name as table_key, lower(column_name) as column_name,
        lower(replace(column_name, '_', '')) as column_key, data_type
    from information_schema.columns
    where table_catalog = current_database() and table_schema not in ('information_schema', 'pg_catalog')
"""
PSEUDO_TABLES = {"catalog.tables": CATALOG_TABLES, "catalog.columns": CATALOG_COLUMNS}
#: Counts, never values: Data Docs are read by more people than the data.
RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0, "include_unexpected_rows": False}
#: Errors of these kinds name tables and columns at most; others may quote a value.
SAFE_ERRORS = ("CatalogException", "BinderException", "ParserException", "ProgrammingError")


@dataclass(frozen=True)
class Check:
    """One expectation over one table of one file.

    ``expectation`` is the GX type, ``kwargs`` ready to use (SQL holds ``{batch}`` and no other placeholder). ``places`` is SQL
    run when it failed; its first column is text, and a second one, if any, counts rows.
    """

    key: int
    suite: str
    name: str
    database: str
    table: str
    expectation: str
    kwargs: dict[str, Any]
    severity: str
    description: str
    notes: str
    places: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a check. ``count`` is how much was unexpected; ``error`` a text without values if it could not be run."""

    passed: bool
    count: int = 0
    places: tuple[tuple[Any, ...], ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Page:
    """One table judged by one suite: what Data Docs show on a page of their own."""

    suite: str
    table: str
    result: Any = field(repr=False)


def query_of(database: str, table: str) -> str:
    """The rows of a table.

    Three names, because DuckDB calls a file after its name, and ``open_data.about`` is ambiguous in ``open_data.duckdb``.
    """
    if table in PSEUDO_TABLES:
        return PSEUDO_TABLES[table].strip()
    schema, name = table.split(".", 1)
    return f'select * from "{database}"."{schema}"."{name}"'


def judge(files: dict[str, Path], checks: list[Check], *, run: str, run_time: datetime) -> tuple[dict[int, Outcome], list[Page]]:
    """Run ``checks`` over ``files`` (database -> DuckDB file), read-only.

    Returns:
        key of the check -> outcome, and the pages in the order of suites and tables.
    """
    warnings.filterwarnings("ignore", module="great_expectations")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    from expectations import duckdb_engine_compat

    duckdb_engine_compat.apply()
    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        ),
    )
    sources: dict[str, Any] = {}
    engines: dict[str, Any] = {}
    outcomes: dict[int, Outcome] = {}
    pages: list[Page] = []
    try:
        for database in dict.fromkeys(check.database for check in checks):
            sources[database] = context.data_sources.add_sql(  # type: ignore[call-arg]  # kwargs is there, its stub lags
                name=database,
                connection_string=f"duckdb:///{files[database].resolve()}",
                kwargs={"connect_args": {"read_only": True, "config": {"enable_external_access": False}}},
                create_temp_table=False,
            )
            engines[database] = sources[database].get_engine()

        groups: dict[tuple[str, str, str], list[Check]] = {}
        for check in checks:
            groups.setdefault((check.suite, check.database, check.table), []).append(check)
        assets: dict[tuple[str, str], Any] = {}
        definitions = []
        for (suite_name, database, table), members in groups.items():
            if (database, table) not in assets:
                asset = sources[database].add_query_asset(name=table, query=query_of(database, table))
                assets[database, table] = asset.add_batch_definition_whole_table("whole table")
            suite = context.suites.add(
                gx.ExpectationSuite(name=f"{suite_name}--{database}--{table}", expectations=[_expectation(check) for check in members])
            )
            definition = gx.ValidationDefinition(name=suite.name, data=assets[database, table], suite=suite)
            definitions.append(context.validation_definitions.add(definition))
        if definitions:
            checkpoint = context.checkpoints.add(gx.Checkpoint(name=run, validation_definitions=definitions, result_format=RESULT_FORMAT))
            results = checkpoint.run(run_id=RunIdentifier(run_name=run, run_time=run_time)).run_results.values()
            by_key = {check.key: check for check in checks}
            for (suite_name, _, table), result in zip(groups, results, strict=True):
                for each in result.results:
                    check = by_key[_key(each)]
                    outcomes[check.key] = _outcome(check, each, engines[check.database])
                pages.append(Page(suite_name, table, result))
    finally:
        # whoever comes next may want to write to these files, in this very process
        for database, engine in engines.items():
            engine.dispose()
            sources[database].get_execution_engine().close()
    return outcomes, pages


def _key(result: Any) -> int:
    return int(result.expectation_config.meta["key"])


def _expectation(check: Check) -> Any:
    from great_expectations.expectations.registry import get_expectation_impl

    kwargs = dict(check.kwargs)
    query = kwargs.get("unexpected_rows_query")
    implementation: Any = get_expectation_impl(check.expectation)
    if query:
        implementation = _counting_rows()
        # GX formats the query with str.format and puts an alias of its own behind {batch}; to SQLAlchemy ":word" is a parameter.
        query = query.replace("{", "{{").replace("}", "}}").replace("{{batch}}", "(select * from {batch})")
        kwargs["unexpected_rows_query"] = re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", query)
    return implementation(**kwargs, severity=check.severity, description=check.description, notes=check.notes, meta={"key": check.key})


@functools.cache
def _counting_rows() -> Any:
    """GX's expectation of a query without rows, which runs the query twice, for their number and for the rows. The number will do."""
    from great_expectations.expectations.core import UnexpectedRowsExpectation

    class UnexpectedRowsCounted(UnexpectedRowsExpectation):
        metric_dependencies = ("unexpected_rows_query.row_count",)

        def _validate(self, metrics: dict, runtime_configuration: dict | None = None, execution_engine: Any = None) -> dict:
            count = metrics["unexpected_rows_query.row_count"]
            return {"success": count == 0, "result": {"observed_value": count}}

    return UnexpectedRowsCounted


def _outcome(check: Check, result: Any, engine: Any) -> Outcome:
    error = _take_error(result)
    if error:
        return Outcome(passed=False, error=error)
    if result.success:
        return Outcome(passed=True)
    observed = result.result.get("observed_value")
    count = result.result.get("unexpected_count") or (observed if isinstance(observed, int) else 0)
    places: list[tuple[Any, ...]] = []
    if check.places:
        with engine.connect() as connection:
            sql = check.places.replace("{batch}", f"({query_of(check.database, check.table)})")
            places = [tuple(row) for row in connection.exec_driver_sql(sql).fetchall()]
    return Outcome(passed=False, count=int(count), places=tuple(places))


def _take_error(result: Any) -> str:
    """The error of a check that could not be run, without values; also takes them out of the result that Data Docs show."""
    info = result.exception_info or {}
    details = [info] if "raised_exception" in info else [each for each in info.values() if isinstance(each, dict)]
    raised = [each for each in details if each.get("raised_exception")]
    if not raised:
        return ""
    message = str(raised[0].get("exception_message") or "")
    kinds = re.findall(r"\b([A-Z]\w*(?:Exception|Error))\b", message)
    text = kinds[0] if kinds else "an error"
    if text in SAFE_ERRORS:
        detail = next((line.strip() for line in message.splitlines() if "Error:" in line), "")
        text = re.sub(r"^\(\S+\)\s*", "", detail) or text
    result.exception_info = {
        "raised_exception": True,
        "exception_message": text,
        "exception_traceback": "",
    }
    return text
