"""Writes what follows from the catalogue alone: base and staging models, quarantine views, quality unions, dbt sources and two seeds.

``make generate`` writes them, ``make generate CHECK=1`` and a test tell whether they drifted. Every file carries the mark; a file
without it is hand-written and never touched. Row rules are made here and run in the base models, nowhere else. SQL that all base
models share lives in ``dbt_project/macros/base.sql``.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from sources.catalogue import Column, Entity, System, load_catalogue
from sources.errors import SscError
from sources.settings import root

MARK = "made by `make generate` from sources/catalog; do not edit"
SQL_MARK = f"-- {MARK}\n"
YAML_MARK = f"# {MARK}\n"
SQL_TYPES = {
    "string": "varchar",
    "integer": "bigint",
    "number": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "array": "varchar",
    "object": "varchar",
}
CASTS = {"integer": "as_integer", "number": "as_number", "boolean": "as_boolean", "date": "as_date", "timestamp": "as_timestamp"}


def row_rules(entity: Entity) -> list[tuple[str, str]]:
    """The row rules of an entity, in order: (rule id, dbt SQL that is true where a row breaks it).

    A rule id is ``<column>:<rule>``. Columns of CTE ``typed`` are the typed value and, for types other than text, ``<name>__sent``.
    """
    rules = [("row:malformed", "_malformed is not null")]
    for column in entity.columns:
        name = column.name
        sent = f"{name}__sent" if column.logical_type in CASTS else name
        if column.required:
            rules.append((f"{name}:required", f"{sent} is null and _malformed is null"))
        if column.logical_type in CASTS:
            rules.append((f"{name}:type", f"{sent} is not null and {name} is null"))
        if column.minimum is not None:
            rules.append((f"{name}:minimum", f"{name} < {column.minimum}"))
        if column.maximum is not None:
            rules.append((f"{name}:maximum", f"{name} > {column.maximum}"))
        if column.pattern:
            rules.append((f"{name}:pattern", f"not {{{{ re_like('{name}', '{column.pattern}') }}}}"))
        if column.max_length:
            rules.append((f"{name}:length", f"length({name}) > {column.max_length}"))
        if column.allowed:
            values = ", ".join(f"'{value}'" for value in column.allowed)
            rules.append((f"{name}:values", f"{name} not in ({values})"))
    if entity.event_time:
        event = entity.event_time
        at = event if entity.column(event).logical_type == "timestamp" else f"cast({event} as {{{{ ts_type() }}}})"
        rules.append((f"{event}:in_future", f"{at} > window_until + interval 1 day"))
        if entity.open_days:
            rules.append((f"{event}:too_late", f"{at} < window_since - interval {entity.open_days} day"))
    return rules


def base_model(entity: Entity) -> str:
    """SQL of ``base_<system>__<entity>``."""
    names = [column.name for column in entity.columns]
    payload = f", payload='{entity.server.payload}'" if entity.server.payload else ""
    keys = [column.name for column in entity.primary_key]
    options = [f"'{entity.key}'", f"keys={_list(keys)}"]
    if entity.version_column:
        options.append(f"version='{entity.version_column}'")
    if entity.event_time in keys:
        options.append("within_day=true")
    lines = [SQL_MARK + f"{{{{ base_config({', '.join(options)}) }}}}", "", "with landed as (", ""]
    lines += [f"    {{{{ landed('{entity.key}', {{"]
    lines += [
        f"        '{column.name}': [{', '.join(map(_literal, (column.source_name, *column.synonyms)))}]," for column in entity.columns
    ]
    lines += ["    }) }}", "", "),", "", "sent as (", "", "    select"]
    for column in entity.columns:
        is_nested = column.logical_type in ("array", "object")
        value = f"{{{{ sent('{column.name}'{payload}) }}}} as {column.name}" if not is_nested else column.name
        lines.append(f"        {value},")
    lines += [
        "        _malformed, _load_id, _row, window_since, window_until",
        "    from landed",
        "",
        "),",
        "",
        "typed as (",
        "",
        "    select",
    ]
    for column in entity.columns:
        if column.logical_type in CASTS:
            lines.append(f"        {column.name} as {column.name}__sent,")
            lines.append(f"        {{{{ {CASTS[column.logical_type]}('{column.name}') }}}} as {column.name},")
        else:
            lines.append(f"        {column.name},")
    lines += [
        "        _malformed, _load_id, _row, window_since, window_until",
        "    from sent",
        "",
        "),",
        "",
        "judged as (",
        "",
        "    select",
        "        *,",
    ]
    lines.append("        {{ broken_rules([")
    for rule, broken in row_rules(entity):
        condition = f'"{broken}"'.replace("{{ ", '" ~ ').replace(" }}", ' ~ "').removesuffix(' ~ ""')
        lines.append(f"            ('{rule}', {condition}),")
    lines += ["        ]) }} as _broken_rules", "    from typed", "", "),", "", "checked as (", "", "    select"]
    lines += [f"        {name}," for name in names]
    lines += ["        _load_id, _row, _broken_rules,"]
    load_day = "{{ shanghai_day('window_until') }}"
    if entity.event_time:
        event = entity.column(entity.event_time)
        day = event.name if event.logical_type == "date" else f"{{{{ shanghai_day('{event.name}') }}}}"
        lines.append(f"        case when _broken_rules is null then {day} else {load_day} end as _day")
    else:
        lines.append(f"        {load_day} as _day")
    lines += ["    from judged", "", ")", "", f"{{{{ added({_list(names)}) }}}}", ""]
    return "\n".join(lines)


def staging_model(entity: Entity, *, quarantined: bool) -> str:
    """SQL of ``stg_…`` (whole and current rows) or of ``quarantine__…`` (current broken rows with every rule they broke)."""
    schema = "quarantine" if quarantined else "staging"
    lines = [SQL_MARK + f"{{{{ config(schema='{schema}', materialized='view') }}}}", "", "select"]
    lines += [f"    {column.name}," for column in entity.columns]
    if quarantined:
        lines.append("    _broken_rules,")
    lines += ["    _load_id,", "    _row,", "    _build_id,", "    _day", f"from {{{{ ref('base_{entity.key}') }}}}"]
    lines.append(f"where not _is_superseded and _broken_rules is {'not ' if quarantined else ''}null")
    return "\n".join(lines) + "\n"


def staging_yaml(system: System) -> str:
    """dbt properties of a system: its source tables and the documentation of its models."""
    out = [
        YAML_MARK + "version: 2",
        "",
        "sources:",
        f"  - name: {system.id}",
        f"    description: {_yaml(system.name_zh + ' · ' + system.owner_zh + ' · ' + system.purpose)}",
    ]
    out += ["    tables:"]
    for entity in system.entities:
        out += [f"      - name: {entity.name}", f"        description: {_yaml(entity.name_zh + ' · ' + entity.description)}"]
    out += ["", "models:"]
    kinds = (
        ("base_", "every landed row, cast by contract, with the rules it broke"),
        ("stg_", "whole and current rows"),
        ("quarantine__", "rows that wait for the department to mend them, with every rule they broke"),
    )
    for entity in system.entities:
        for prefix, what in kinds:
            out += [f"  - name: {prefix}{entity.key}", f"    description: {_yaml(f'{entity.name_zh} · {entity.description}: {what}')}"]
            if prefix == "base_":
                out += ["    config:", "      meta:", "        dagster:", "          group: base"]
            out.append("    columns:")
            for column in entity.columns:
                out += [f"      - name: {column.name}", f"        description: {_yaml(_column_text(column))}"]
                if prefix == "stg_" and len(entity.primary_key) == 1 and column.key_position:
                    out += ["        data_tests: [unique, not_null]"]
    return "\n".join(out) + "\n"


# One entity's share of each union below; {{{{ }}}} is dbt's own {{ }}.
LEDGER_OF_ENTITY = """\
select
    '{system}' as system,
    '{entity}' as entity,
    load_id,
    window_since,
    window_until,
    landed_count,
    bytes,
    started_at,
    ended_at,
    is_demo,
    contract_version,
    added_columns,
    missing_columns
from {{{{ ledger_loads('{key}') }}}}"""
COUNTS_OF_ENTITY = """\
select
    '{system}' as system,
    '{entity}' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{{{ ledger_counts('{key}') }}}}
group by load_id"""
LATEST_OF_ENTITY = """\
select
    '{system}' as system,
    '{entity}' as entity,
    max({event}) as latest_event_at,
    {steady} as is_steady
from {{{{ ref('stg_{key}') }}}}{last_day}"""
# An event's day is its row's _day: only the last one is searched.
LAST_DAY = """
where _day = (select max(_day) from {{{{ ledger_counts('{key}') }}}} where staged_count > 0)"""
QUARANTINED_OF_ENTITY = """\
select
    '{system}' as system,
    '{entity}' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{{{ ref('quarantine__{key}') }}}}
group by _day, _broken_rules"""


def quality_models(systems: dict[str, System]) -> dict[str, str]:
    """The unions over all entities: ledger, reconciliation, freshness, drift, quarantine summary."""
    entities = [entity for system in systems.values() for entity in system.entities]
    depends = "".join(f"-- depends_on: {{{{ ref('base_{entity.key}') }}}}\n" for entity in entities)

    def union(select: str) -> str:
        return (
            "\nunion all\n".join(
                select.format(
                    system=e.system,
                    entity=e.name,
                    key=e.key,
                    event=_event(e),
                    steady=str(bool(e.open_days)).lower(),
                    last_day=LAST_DAY.format(key=e.key) if e.event_time else "",
                )
                for e in entities
            )
            + "\n"
        )

    ledger, counts = union(LEDGER_OF_ENTITY), union(COUNTS_OF_ENTITY)
    latest, quarantined = union(LATEST_OF_ENTITY), union(QUARANTINED_OF_ENTITY)
    view = "{{ config(materialized='view', schema='quality_internal') }}\n"
    return {
        "int_load_ledger.sql": SQL_MARK + view + depends + "\n" + ledger,
        "int_load_counts.sql": SQL_MARK + view + depends + "\n" + counts,
        "int_latest_event.sql": SQL_MARK + view + "\n" + latest,
        "int_quarantined_rows.sql": SQL_MARK + view + "\n" + quarantined,
    }


def catalogue_seeds(systems: dict[str, System]) -> dict[str, str]:
    """The catalogue as two seeds: governance and the data dictionary are made from them."""
    system_rows, column_rows = [], []
    for system in systems.values():
        system_rows.append(
            [
                system.id,
                system.name_zh,
                system.name_en,
                system.owner_zh,
                system.domain,
                system.delivery,
                int(system.frequency.total_seconds() // 60),
                int(system.latency.total_seconds() // 60),
                system.version,
            ]
        )
        for entity in system.entities:
            for column in entity.columns:
                c = column.data_class
                column_rows.append(
                    [
                        system.id,
                        entity.name,
                        column.name,
                        column.source_name,
                        column.name_zh,
                        column.logical_type,
                        c.data_level,
                        c.pi_class,
                        c.sharing,
                        c.opening,
                        str(column.is_identifier).lower(),
                        str(column.required).lower(),
                        c.purpose,
                        c.retention,
                        str(entity.typed_by_community).lower(),
                    ]
                )
    return {
        "catalogue_system.csv": _csv(
            ["system", "name_zh", "name_en", "department_zh", "domain", "delivery", "frequency_minutes", "latency_minutes", "version"],
            system_rows,
        ),
        "catalogue_column.csv": _csv(
            [
                "system",
                "entity",
                "column_name",
                "source_name",
                "name_zh",
                "logical_type",
                "data_level",
                "pi_class",
                "sharing",
                "opening",
                "is_identifier",
                "is_required",
                "purpose",
                "retention",
                "typed_by_community",
            ],
            column_rows,
        ),
    }


def files(systems: dict[str, System] | None = None) -> dict[str, str]:
    """Every generated file: path below ``dbt_project`` -> content."""
    systems = systems or load_catalogue()
    out: dict[str, str] = {}
    for system in systems.values():
        folder = f"models/staging/{system.id}"
        out[f"{folder}/_{system.id}.yml"] = staging_yaml(system)
        for entity in system.entities:
            out[f"{folder}/base_{entity.key}.sql"] = base_model(entity)
            out[f"{folder}/stg_{entity.key}.sql"] = staging_model(entity, quarantined=False)
            out[f"{folder}/quarantine__{entity.key}.sql"] = staging_model(entity, quarantined=True)
    out |= {f"models/quality/generated/{name}": text for name, text in quality_models(systems).items()}
    out |= {f"seeds/generated/{name}": text for name, text in catalogue_seeds(systems).items()}
    return out


def drift(project: Path, expected: dict[str, str]) -> list[str]:
    """Generated files that are missing, changed or left over."""
    faults = []
    for name, text in expected.items():
        path = project / name
        if not path.exists():
            faults.append(f"{name} is missing")
        elif path.read_text(encoding="utf-8") != text:
            faults.append(f"{name} differs")
    for path in _generated(project):
        if str(path.relative_to(project)) not in expected:
            faults.append(f"{path.relative_to(project)} is left over")
    return faults


def write(project: Path, expected: dict[str, str]) -> int:
    """Write what differs, remove what is left over; returns the number of files touched.

    Raises:
        SscError: a hand-written file stands where a generated one belongs.
    """
    touched = 0
    for name, text in expected.items():
        path = project / name
        if path.exists():
            present = path.read_text(encoding="utf-8")
            if present == text:
                continue
            if path.suffix != ".csv" and MARK not in present:
                raise SscError(
                    "a hand-written file stands here", where=f"dbt_project/{name}", next_step="rename it, then run `make generate`"
                )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        touched += 1
    for path in _generated(project):
        if str(path.relative_to(project)) not in expected:
            path.unlink()
            touched += 1
    return touched


def _generated(project: Path) -> list[Path]:
    marked = [
        path
        for folder in ("models/staging", "models/quality/generated")
        for path in (project / folder).rglob("*")
        if path.suffix in (".sql", ".yml") and MARK in path.read_text(encoding="utf-8")
    ]
    return marked + list((project / "seeds/generated").glob("*.csv"))


def _event(entity: Entity) -> str:
    """The time of an entity's newest record, as a timestamp."""
    name = entity.event_time or entity.version_column
    if name is None:
        return "cast(null as {{ ts_type() }})"
    if entity.column(name).logical_type == "date":
        return "{{ from_shanghai('cast(" + name + " as ' ~ ts_type() ~ ')') }}"
    return name


def _column_text(column: Column) -> str:
    parts = [column.name_zh]
    if column.description:
        parts.append(column.description)
    if column.minimum is not None or column.maximum is not None:
        parts.append(f"from {column.minimum} to {column.maximum}")
    if column.allowed:
        parts.append("one of " + ", ".join(column.allowed))
    if column.is_identifier:
        parts.append("keyed hash, the clear value is never stored")
    parts.append(f"{column.data_class.data_level}/{column.data_class.pi_class}")
    return " · ".join(parts)


def _csv(header: list[str], rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _list(names: list[str]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


def _yaml(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def main(arguments: list[str]) -> int:
    project = root() / "dbt_project"
    expected = files()
    if "--check" in arguments:
        faults = drift(project, expected)
        for fault in faults:
            print(fault)
        print("generated files agree with the catalogue" if not faults else "Next: run `make generate` and commit")
        return bool(faults)
    print(f"{write(project, expected)} of {len(expected)} generated files changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
