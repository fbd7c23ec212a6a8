"""Makes Great Expectations 1.24 work over DuckDB, and nothing else.

Great Expectations returns a SQLAlchemy cursor after it has handed the connection back to the pool. Most drivers have fetched by
then; duckdb-engine has not, and every expectation fails with ``list index out of range``. The mend fetches the rows while the
connection is still held. ``tests/unit/test_gate.py`` fails as soon as the installed version no longer needs it.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from sources.errors import SscError

#: Versions the mend was tried with. Another one needs a look at ``SqlAlchemyExecutionEngine.execute_query`` first.
TRIED_VERSIONS = ("1.24.",)


def apply() -> None:
    """Let ``SqlAlchemyExecutionEngine.execute_query`` fetch before it returns. Calling it twice changes nothing.

    Raises:
        SscError: the installed Great Expectations is not one that the mend was tried with.
    """
    installed = version("great-expectations")
    if not installed.startswith(TRIED_VERSIONS):
        raise SscError(
            f"Great Expectations {installed} is installed; the gate was tried with {', '.join(TRIED_VERSIONS)}x",
            where="expectations/duckdb_engine_compat.py",
            next_step="run `pytest tests/unit/test_gate.py` with the new version; drop this module if it is no longer needed, "
            "else add the version to TRIED_VERSIONS",
        )

    from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine

    original = SqlAlchemyExecutionEngine.execute_query
    if getattr(original, "fetches_first", False):
        return

    def execute_query(self: Any, query: Any) -> Any:
        with self.get_connection() as connection:
            frozen = self._execute_query_with_recovery(connection, query).freeze()
        return frozen()

    execute_query.fetches_first = True  # type: ignore[attr-defined]
    execute_query.original = original  # type: ignore[attr-defined]
    SqlAlchemyExecutionEngine.execute_query = execute_query  # type: ignore[method-assign]
