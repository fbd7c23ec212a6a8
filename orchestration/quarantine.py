"""What waits in quarantine, for the person who has to have it mended: rule by rule, how many rows, where the first of them lie.

Reads the build; shows places, never values, because a quarantined row may hold anything.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from sources.catalogue import Entity, System
from sources.connectors.files import FILE_STRIDE
from sources.errors import BuildError
from sources.landing import Landing
from sources.settings import data_dir

EXAMPLES = 3


def report(system: System, folder: Path | None = None) -> str:
    """The quarantine of one system as text, one rule to a line with the loads and rows of its first examples.

    Raises:
        BuildError: nothing has been built yet, or the build is being written.
    """
    folder = folder or data_dir()
    path, landing = folder / "build" / "warehouse.duckdb", Landing(folder / "landing")
    if not path.exists():
        raise BuildError("nothing has been built yet", where=str(path), next_step="run `make warehouse`")
    lines = [f"{system.id} · {system.name_zh} · {system.owner_zh}"]
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            for entity in system.entities:
                found = connection.execute(
                    f"""
                    select rule, count(*), arg_min(_load_id, (_load_id, _row), {EXAMPLES}), arg_min(_row, (_load_id, _row), {EXAMPLES})
                    from (select _load_id, _row, unnest(string_split(_broken_rules, ',')) as rule from quarantine.quarantine__{entity.key})
                    group by rule order by count(*) desc, rule
                    """
                ).fetchall()
                lines.append(f"\n{entity.name} · {entity.name_zh}: {'nothing waits' if not found else ''}")
                for rule, count, loads, rows in found:
                    places = ", ".join(f"{load} {_place(entity, landing, load, row)}" for load, row in zip(loads, rows, strict=True))
                    lines.append(f"  {count:7,}  {rule:36} first in {places}")
    except duckdb.Error as error:
        raise BuildError(
            f"the build cannot be read ({str(error).splitlines()[0]})",
            where=str(path),
            next_step="wait until the running build has ended, then ask again",
        ) from error
    lines.append("\nNext: the department mends the rows in its own system; what it delivers again replaces them. A rule that is wrong is")
    lines.append(f"mended in sources/catalog/{system.id}.yml, then `make generate` and `make warehouse`.")
    return "\n".join(lines)


def _place(entity: Entity, landing: Landing, load_id: str, row: int) -> str:
    """Where a person finds a row of a load: files count theirs, each for itself; a sheet as Excel shows them."""
    manifest = landing.manifest(entity.system, entity.name, load_id)
    by_name = {"" if of.server.is_first else of.server.name: of.server for of in entity.deliveries}
    server = by_name.get(manifest.server if manifest else "", entity.server)
    if server.delivery == "files":
        number, row = divmod(row, FILE_STRIDE)
        return f"file {number + 1} " + (f"sheet {entity.options['sheet']} row {row}" if server.file_format == "xlsx" else f"row {row}")
    return f"row {row}"
