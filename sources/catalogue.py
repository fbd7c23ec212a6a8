"""Typed reader and validator of ``sources/catalog/<system>.yml``, the only place where a system is described.

The files are data contracts in the Open Data Contract Standard 3.1 (bitol.io). The standard's own rules are checked by its
package; what this product needs beyond them is checked here, and every error names file, line and mend. Anything about *how* a
system is pulled belongs in ``sources/connectors``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import ValidationError

from sources.errors import CatalogueError
from sources.settings import of_system, root, variable_of

LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of libyaml where it was built in: every run reads the catalogue
DELIVERIES = ("rest", "database", "files", "stream")
LOGICAL_TYPES = ("string", "integer", "number", "boolean", "date", "timestamp", "array", "object")
FILE_FORMATS = ("csv", "csv.gz", "ndjson", "ndjson.gz", "xlsx")
CLASS_VALUES: dict[str, tuple[str, ...]] = {
    "data_level": ("一般", "重要", "核心"),
    "pi_class": ("none", "personal", "sensitive"),
    "sharing": ("无条件", "有条件", "不予"),
    "opening": ("无条件", "有条件", "不予"),
}
PAYLOAD_ENVELOPES = {"ngsi-ld": ("id", "type", "@context")}
UNIT_MINUTES = {"m": 1, "min": 1, "h": 60, "d": 1440, "w": 10080, "mo": 44640, "y": 527040}
ENTITY_PROPERTIES = {
    "typed_by_community",
    "default_class",
    "event_time",
    "version_column",
    "open_days",
    "pagination",
    "read_by",
    "topic",
    "sheet",
    "header_rows",
    "total_rows",
}
SERVER_PROPERTIES = {
    "delivery",
    "payload",
    "since_parameter",
    "until_parameter",
    "items_field",
    "cursor_field",
    "pages_field",
    "total_field",
    "total_header",
    "page_size",
    "page_size_parameter",
    "frequency_minutes",
}
COLUMN_PROPERTIES = {"identifier", "data_level", "sharing", "opening", "purpose", "retention", "formats"}
READING = {"pagination", "read_by", "topic", "sheet", "header_rows", "total_rows"}  # properties that say how an entity is read
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class DataClass:
    """How a column may be used: level (GB/T 43697-2024), personal information (PIPL, GB/T 35273), sharing and opening."""

    data_level: str
    pi_class: str
    sharing: str
    opening: str
    purpose: str
    retention: str


@dataclass(frozen=True)
class Column:
    """One column of an entity. ``source_name`` is the department's own name for it, ``name`` ours; ``synonyms`` are names that the
    department used for it before or has used since."""

    name: str
    source_name: str
    synonyms: tuple[str, ...]
    name_zh: str
    logical_type: str
    required: bool
    key_position: int | None
    minimum: float | None
    maximum: float | None
    pattern: str | None
    max_length: int | None
    allowed: tuple[str, ...]
    formats: tuple[str, ...]
    is_identifier: bool
    data_class: DataClass
    description: str


@dataclass(frozen=True)
class Entity:
    """One kind of record of a system, as one of its servers delivers it (the system's first one, see :attr:`deliveries`).

    ``source`` is a REST path, a glob of file names, a table or a topic filter, by delivery. ``options`` tells a connector how the
    entity is read: pagination (rest), read_by (database), topic (stream), sheet, header_rows, total_rows (workbooks).
    """

    system: str
    name: str
    name_zh: str
    description: str
    source: str
    columns: tuple[Column, ...]
    typed_by_community: bool
    event_time: str | None
    version_column: str | None
    open_days: int | None
    server: Server
    contract_version: str
    data_level: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    deliveries: tuple[Entity, ...] = field(default=(), repr=False, compare=False)

    @property
    def key(self) -> str:
        """``<system>__<entity>``, the stem of every model name made from it."""
        return f"{self.system}__{self.name}"

    @cached_property
    def primary_key(self) -> tuple[Column, ...]:
        return tuple(sorted((c for c in self.columns if c.key_position), key=lambda c: c.key_position or 0))

    @cached_property
    def source_names(self) -> frozenset[str]:
        """Every name under which the contract knows a column, and the envelope of the payload."""
        envelope = PAYLOAD_ENVELOPES.get(self.server.payload or "", ())
        return frozenset(name for c in self.columns for name in (c.source_name, *c.synonyms)) | frozenset(envelope)

    @cached_property
    def identifiers(self) -> tuple[str, ...]:
        """Source names of the columns whose values are hashed before anything is written."""
        return tuple(name for c in self.columns if c.is_identifier for name in (c.source_name, *c.synonyms))

    def variable(self, name: str) -> str:
        """The environment variable that holds a setting of its server: ``SSC_<SYSTEM>_URL``, or ``SSC_<SYSTEM>_<SERVER>_URL``."""
        return variable_of(self.system, f"{self.server.setting}{name}")

    def setting(self, name: str, *, required: bool = True) -> str | None:
        """What :meth:`variable` holds, see :func:`sources.settings.of_system`."""
        return of_system(self.system, f"{self.server.setting}{name}", required=required)

    def column(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)


@dataclass(frozen=True)
class Server:
    """One way in which a system delivers, at most every ``frequency``. Rows of several servers are one by primary key.

    ``is_first``: its settings are ``SSC_<SYSTEM>_URL`` and so on; those of a further server are ``SSC_<SYSTEM>_<SERVER>_URL``.
    """

    name: str
    delivery: str
    file_format: str | None
    encoding: str
    delimiter: str
    payload: str | None
    frequency: timedelta
    is_first: bool
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def setting(self) -> str:
        """What stands before the name of a setting of this server, see :func:`sources.settings.of_system`."""
        return "" if self.is_first else f"{self.name}_"


@dataclass(frozen=True)
class System:
    """One departmental system."""

    id: str
    name_zh: str
    name_en: str
    owner_zh: str
    domain: str
    version: str
    purpose: str
    limitations: str
    frequency: timedelta
    latency: timedelta
    servers: tuple[Server, ...]
    entities: tuple[Entity, ...]
    path: Path

    @property
    def delivery(self) -> str:
        return self.servers[0].delivery

    def entity(self, name: str) -> Entity:
        for entity in self.entities:
            if entity.name == name:
                return entity
        raise CatalogueError(
            f"there is no entity {name!r}", where=self.id, next_step=f"use one of {', '.join(e.name for e in self.entities)}"
        )


def is_set_up(entity: Entity) -> bool:
    """Whether the entity's server can be asked: its only one must be, a further one is used where its address is set."""
    return len(entity.deliveries) == 1 or bool(entity.setting("url", required=False))


def catalogue_dir() -> Path:
    return root() / "sources" / "catalog"


def load_catalogue(folder: Path | None = None) -> dict[str, System]:
    """Read every contract of ``folder`` (default ``sources/catalog``).

    Returns:
        id -> System, sorted by id.

    Raises:
        CatalogueError: with every fault of every file, one to a line.
    """
    faults: list[str] = []
    systems: dict[str, System] = {}
    for path in sorted((folder or catalogue_dir()).glob("*.yml")):
        reader = _Reader(path)
        system = reader.read()
        faults += reader.faults
        if system:
            systems[system.id] = system
    if faults:
        raise CatalogueError(
            f"{len(faults)} fault(s):\n  " + "\n  ".join(faults),
            where="sources/catalog",
            next_step="mend the lines named above, then run `make catalogue`",
        )
    return dict(sorted(systems.items()))


class _Reader:
    """Reads one file; collects all its faults, each as ``file:line: what. mend``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[str] = []
        self.lines: dict[tuple[Any, ...], int] = {}

    def fault(self, at: tuple[Any, ...], what: str, mend: str) -> None:
        while at and at not in self.lines:
            at = at[:-1]
        self.faults.append(f"{self.path.name}:{self.lines.get(at, 1)}: {what}. {mend}")

    def read(self) -> System | None:
        text = self.path.read_text(encoding="utf-8")
        try:
            loader = LOADER(text)
            node = loader.get_single_node()
            document = loader.construct_document(node) if node else None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            self.lines[()] = mark.line + 1 if mark else 1
            self.fault((), f"this is no YAML: {getattr(error, 'problem', error)}", "Mend the syntax")
            return None
        if node is None or not isinstance(document, dict):
            self.fault((), "the file is empty", "Describe one system, as the files beside it do")
            return None
        self._index(node, ())
        try:
            contract = OpenDataContractStandard.model_validate(document)
        except ValidationError as error:
            for item in error.errors():
                at = tuple("schema" if part == "schema_" else part for part in item["loc"])
                self.fault(at, f"{'.'.join(map(str, at))}: {item['msg']}", "See the Open Data Contract Standard 3.1")
            return None
        before = len(self.faults)
        system = self._system(contract, document)
        return system if len(self.faults) == before else None

    def _index(self, node: yaml.Node, at: tuple[Any, ...]) -> None:
        self.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._index(value, (*at, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                self._index(value, (*at, number))

    def _properties(self, items: Any, at: tuple[Any, ...], allowed: set[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number, item in enumerate(items or []):
            if item.property not in allowed:
                self.fault(
                    (*at, "customProperties", number),
                    f"unknown custom property {item.property!r}",
                    f"Use one of {', '.join(sorted(allowed))}",
                )
            found[item.property] = item.value
        return found

    def _system(self, contract: OpenDataContractStandard, document: dict[str, Any]) -> System | None:
        if contract.id != self.path.stem:
            self.fault(("id",), f"id is {contract.id!r} but the file is {self.path.name}", "Give both the same name")
        for name in ("name", "tenant", "domain", "version"):
            if not getattr(contract, name):
                self.fault((), f"{name} is missing", f"Add `{name}:`")
        name_en = next((tag[3:] for tag in contract.tags or [] if tag.startswith("en:")), "")
        if not name_en:
            self.fault(("tags",), "the English name is missing", "Add `tags: [en:<name>]`")
        sla: dict[str, timedelta] = {}
        for number, item in enumerate(contract.slaProperties or []):
            at = ("slaProperties", number)
            if item.unit not in UNIT_MINUTES:
                self.fault(at, f"unit {item.unit!r} of {item.property}", f"Use one of {', '.join(UNIT_MINUTES)}")
            elif not isinstance(item.value, (int, float)) or isinstance(item.value, bool) or item.value <= 0:
                self.fault(at, f"value {item.value!r} of {item.property}", "Use a positive number")
            elif item.property:
                sla[item.property] = timedelta(minutes=item.value * UNIT_MINUTES[item.unit])
        for name in ("frequency", "latency"):
            if name not in sla:
                self.fault(("slaProperties",), f"{name} is missing", f"Add {{property: {name}, value: 1, unit: h}}")
        every = sla.get("frequency", timedelta(days=1))
        servers = tuple(self._server(item, number, every) for number, item in enumerate(contract.servers or []))
        if not servers:
            self.fault((), "servers are missing", "Add one server with its delivery")
            return None
        for name in {s.name for s in servers if [o.name for o in servers].count(s.name) > 1}:
            self.fault(("servers",), f"the server {name} stands twice", "Give each a name of its own")
        if len({s.payload for s in servers}) > 1:
            self.fault(("servers",), "the servers send different payloads", "Give each the same payload; an entity has one shape")
        entities = []
        for number, described in enumerate(contract.schema_ or []):
            entity = self._entity(contract, described, ("schema", number), servers)
            if entity:
                entities.append(entity)
        if not contract.schema_:
            self.fault((), "schema is missing", "Describe at least one entity")
        names = [entity.name for entity in entities]
        for name in {n for n in names if names.count(n) > 1}:
            self.fault(("schema",), f"the entity {name} stands twice", "Keep one")
        if self.faults:
            return None
        description = contract.description
        return System(
            id=contract.id or "",
            name_zh=contract.name or "",
            name_en=name_en,
            owner_zh=contract.tenant or "",
            domain=contract.domain or "",
            version=contract.version or "",
            purpose=(description.purpose if description else "") or "",
            limitations=(description.limitations if description else "") or "",
            frequency=sla["frequency"],
            latency=sla["latency"],
            servers=servers,
            entities=tuple(entities),
            path=self.path,
        )

    def _server(self, item: Any, number: int, every: timedelta) -> Server:
        at = ("servers", number)
        options = self._properties(item.customProperties, at, SERVER_PROPERTIES)
        delivery = options.pop("delivery", None)
        if delivery not in DELIVERIES:
            self.fault(at, f"delivery is {delivery!r}", f"Add {{property: delivery, value: {' | '.join(DELIVERIES)}}}")
        if delivery == "files" and item.format not in FILE_FORMATS:
            self.fault(at, f"format is {item.format!r}", f"Use one of {', '.join(FILE_FORMATS)}")
        for name in ("host", "account", "location"):
            if getattr(item, name, None):
                self.fault(at, f"{name} does not belong here", "Hosts and secrets are SSC_<SYSTEM>_URL, _TOKEN, _PASSWORD")
        minutes = options.pop("frequency_minutes", None)
        if minutes is not None and (not isinstance(minutes, int) or minutes < 1):
            self.fault(at, f"frequency_minutes is {minutes!r}", "Use a whole number of minutes")
            minutes = None
        return Server(
            name=item.server or f"server{number}",
            delivery=str(delivery),
            file_format=item.format,
            encoding=item.encoding or "UTF-8",
            delimiter=item.delimiter or ",",
            payload=options.pop("payload", None),
            frequency=timedelta(minutes=minutes) if minutes else every,
            is_first=number == 0,
            options=options,
        )

    def _entity(self, contract: Any, item: Any, at: tuple[Any, ...], servers: tuple[Server, ...]) -> Entity | None:
        before = len(self.faults)
        if not item.name or not NAME.fullmatch(item.name):
            self.fault(at, f"the entity's name {item.name!r}", "Use lower case, digits and _")
        for name in ("description", "businessName", "physicalName"):
            if not getattr(item, name):
                self.fault(at, f"{name} of entity {item.name} is missing", f"Add `{name}:`")
        options = self._properties(item.customProperties, at, ENTITY_PROPERTIES)
        if not isinstance(options.get("typed_by_community"), bool):
            self.fault(at, "typed_by_community is missing", "Add {property: typed_by_community, value: true} or false")
        default = self._class(options.get("default_class") or {}, at, whole=True)
        columns = [
            column
            for number, prop in enumerate(item.properties or [])
            if (column := self._column(prop, (*at, "properties", number), default))
        ]
        for values in ([c.name for c in columns], [name for c in columns for name in (c.source_name, *c.synonyms)]):
            for value in {v for v in values if values.count(v) > 1}:
                self.fault(at, f"the column {value} stands twice", "Keep one")
        by_name = {column.name: column for column in columns}
        if not any(c.key_position for c in columns):
            self.fault(at, f"entity {item.name} has no primary key", "Mark its columns with primaryKey and primaryKeyPosition")
        for option, types in (("event_time", ("date", "timestamp")), ("version_column", ("date", "timestamp", "integer"))):
            chosen = options.get(option)
            if chosen is not None and (chosen not in by_name or by_name[chosen].logical_type not in types):
                self.fault(at, f"{option} is {chosen!r}", f"Name a column of type {' or '.join(types)}")
        if options.get("open_days") is not None:
            if not isinstance(options["open_days"], int) or options["open_days"] < 1:
                self.fault(at, f"open_days is {options['open_days']!r}", "Use a whole number of days")
            elif by_name.get(options.get("event_time", "")) and not by_name[options["event_time"]].key_position:
                self.fault(at, "open_days needs the event time in the primary key", "Drop open_days or extend the key")
            elif not options.get("event_time"):
                self.fault(at, "open_days needs an event_time", "Add {property: event_time, value: <column>}")
        of = {server.delivery: server for server in servers}
        if "rest" in of and options.get("pagination") not in ("cursor", "page", "whole"):
            self.fault(at, f"pagination is {options.get('pagination')!r}", "Add {property: pagination, value: cursor | page | whole}")
        told_by = by_name.get(options.get("read_by", ""))
        if "database" in of and (told_by is None or told_by.logical_type not in ("integer", "timestamp")):
            self.fault(
                at,
                f"read_by is {options.get('read_by')!r}",
                "Name the column that tells what is new: a change number (integer) or a time of change (timestamp)",
            )
        if of.get("files", servers[0]).file_format == "xlsx":
            rows = options.get("header_rows", [1])
            if not isinstance(rows, list) or not rows or any(not isinstance(row, int) or row < 1 for row in rows):
                self.fault(at, f"header_rows is {rows!r}", "Give the numbers of the header's rows, the first row of a sheet is 1")
            if not options.get("sheet"):
                self.fault(at, "sheet is missing", "Add {property: sheet, value: <name of the sheet>}")
        if servers[0].delivery == "stream" and not options.get("topic"):
            self.fault(at, "topic is missing", "Add {property: topic, value: <topic filter>}")
        if len(self.faults) > before:
            return None
        whole = Entity(
            system=contract.id,
            name=item.name,
            name_zh=item.businessName,
            description=item.description,
            source=item.physicalName,
            columns=tuple(columns),
            typed_by_community=options["typed_by_community"],
            event_time=options.get("event_time"),
            version_column=options.get("version_column"),
            open_days=options.get("open_days"),
            server=servers[0],
            contract_version=contract.version,
            data_level=max((c.data_class.data_level for c in columns), key=CLASS_VALUES["data_level"].index),
            options={name: options[name] for name in READING & options.keys()},
        )
        by_server = [
            replace(whole, server=server, source=options["topic"] if server.delivery == "stream" else whole.source)
            for server in servers
            if server.delivery != "stream" or options.get("topic")
        ]
        of_each = tuple(replace(one, deliveries=tuple(by_server)) for one in by_server)
        return replace(of_each[0], deliveries=of_each)

    def _class(self, values: dict[str, Any], at: tuple[Any, ...], *, whole: bool) -> dict[str, str]:
        for name, allowed in CLASS_VALUES.items():
            if (whole or name in values) and values.get(name) not in allowed:
                self.fault(at, f"{name} is {values.get(name)!r}", f"Use one of {', '.join(allowed)}")
        for name in ("purpose", "retention"):
            if whole and not values.get(name):
                self.fault(at, f"{name} is missing from default_class", f"Add `{name}:`")
        return {name: str(value) for name, value in values.items()}

    def _column(self, prop: Any, at: tuple[Any, ...], default: dict[str, str]) -> Column | None:
        before = len(self.faults)
        if not prop.name or not NAME.fullmatch(prop.name):
            self.fault(at, f"the column's name {prop.name!r}", "Use lower case, digits and _; a leading _ is ours")
        if not prop.businessName and not prop.description:
            self.fault(at, f"businessName of {prop.name} is missing", "Add the Chinese name as `businessName:`")
        if prop.logicalType not in LOGICAL_TYPES:
            self.fault(at, f"logicalType {prop.logicalType!r} of {prop.name}", f"Use one of {', '.join(LOGICAL_TYPES)}")
        limits = dict(prop.logicalTypeOptions or {})
        for name in set(limits) - {"minimum", "maximum", "pattern", "maxLength", "format"}:
            self.fault((*at, "logicalTypeOptions", name), f"unknown option {name!r}", "Use minimum, maximum, pattern, maxLength")
        if limits.get("pattern"):
            try:
                re.compile(limits["pattern"])
            except re.error as error:
                self.fault((*at, "logicalTypeOptions"), f"pattern of {prop.name}: {error}", "Mend the expression")
            if "'" in limits["pattern"]:
                self.fault((*at, "logicalTypeOptions"), f"pattern of {prop.name} holds a quote", "Write it without")
        if bool(prop.primaryKey) != bool(prop.primaryKeyPosition):
            self.fault(at, f"{prop.name} needs both primaryKey and primaryKeyPosition", "Add the other one")
        if prop.primaryKey and not prop.required:
            self.fault(at, f"{prop.name} is a key and not required", "Add `required: true`")
        options = self._properties(prop.customProperties, at, COLUMN_PROPERTIES)
        own = {k: v for k, v in options.items() if k in ("data_level", "sharing", "opening", "purpose", "retention")}
        if prop.classification:
            own["pi_class"] = prop.classification
        merged = {**default, **self._class(own, at, whole=False)}
        if options.get("identifier") and merged.get("pi_class") == "none":
            self.fault(at, f"{prop.name} is an identifier and classed none", "Add `classification: personal` or sensitive")
        if len(self.faults) > before:
            return None
        # What is unclassed counts as sensitive, and above 一般 is refused by the connectors: privacy fails closed.
        data_class = DataClass(
            data_level=merged.get("data_level", "核心"),
            pi_class=merged.get("pi_class", "sensitive"),
            sharing=merged.get("sharing", "不予"),
            opening=merged.get("opening", "不予"),
            purpose=merged.get("purpose", ""),
            retention=merged.get("retention", ""),
        )
        return Column(
            name=prop.name,
            source_name=prop.physicalName or prop.name,
            synonyms=tuple(prop.synonyms or ()),
            name_zh=prop.businessName or prop.name,
            logical_type=prop.logicalType,
            required=bool(prop.required),
            key_position=prop.primaryKeyPosition,
            minimum=limits.get("minimum"),
            maximum=limits.get("maximum"),
            pattern=limits.get("pattern"),
            max_length=limits.get("maxLength"),
            allowed=tuple(str(value.value) for value in prop.enum or ()),
            formats=tuple(options.get("formats") or ()),
            is_identifier=bool(options.get("identifier")),
            data_class=data_class,
            description=prop.description or "",
        )


def main() -> None:
    """Print the catalogue as a table (``make catalogue``)."""
    for system in load_catalogue().values():
        ways = ", ".join(server.delivery for server in system.servers)
        print(f"{system.id:24} {system.name_zh} · {system.owner_zh} · {ways} · every {system.frequency} · v{system.version}")
        for entity in system.entities:
            typed = "typed by communities" if entity.typed_by_community else ""
            print(f"  {entity.name:22} {entity.name_zh}  {len(entity.columns)} columns, {len(entity.identifiers)} hashed  {typed}")


if __name__ == "__main__":
    main()
