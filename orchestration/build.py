"""What a build takes: which landed loads are new, which models changed, and the files that tell dbt so.

Everything that dbt reads about a build is written here, to ``data/work/build.json`` and ``data/work/loads/<system>__<entity>.json``;
dbt's side is ``dbt_project/macros/build.sql``. Running dbt belongs in ``warehouse.py``, and for Spark in ``spark.py``, which has a state
and a work folder of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from sources.catalogue import Entity, load_catalogue
from sources.errors import BuildError
from sources.landing import Landing, Manifest
from sources.settings import data_dir, root

DATABASES = ("warehouse", "marts", "open_data")
PROJECT = "_project"  # the line of the build log that a whole, successful build writes last


@dataclass(frozen=True)
class Build:
    """One build as it is about to run.

    ``rebuild`` names the incremental models whose contract or SQL changed since they were built. ``is_needed`` is false where the
    last build ended whole, took every load, and was made of the same project. ``unchanged`` is what dbt can leave out, as it selects it:
    after a whole build of the same project, the seeds, and base, staging and quarantine of entities without a new load.
    """

    build_id: int
    as_of: datetime
    new_loads: int
    new_rows: int
    rebuild: list[str]
    is_needed: bool
    unchanged: list[str] = field(default_factory=list)

    @property
    def dbt_arguments(self) -> list[str]:
        """``dbt build`` and its arguments. Unit tests test the models, not the data: they belong to `make test`.

        A test is left out where all that it looks at is (cautious), so one between a fact and a seed stays.
        """
        left_out = ["--indirect-selection", "cautious", "--exclude", " ".join(self.unchanged)] if self.unchanged else []
        return ["build", "--exclude-resource-type", "unit_test", *left_out]


@contextlib.contextmanager
def build_lock(folder: Path | None = None, name: str = ".lock") -> Iterator[None]:
    """Only one process writes the build at a time, on one machine; waits for its turn."""
    path = (folder or data_dir()) / "build" / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def dbt_environment(folder: Path | None = None) -> dict[str, str]:
    """What dbt needs in its environment beyond the caller's."""
    return {
        "SSC_DATA": str(folder or data_dir()),
        "DBT_PROFILES_DIR": str(root() / "dbt_project"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_LOG_LEVEL_FILE": os.environ.get("DBT_LOG_LEVEL_FILE", "info"),  # dbt's own is debug: 10 MB and a tenth of its time
    }


def mark_released(folder: Path) -> None:
    """Note that the finished build, whose results lie in ``data/build/run_results.json``, has been released."""
    (folder / "build" / "released").write_text(str((folder / "build" / "run_results.json").stat().st_mtime_ns))


def is_released(folder: Path) -> bool:
    """Whether the finished build was released; a refused one was not."""
    return _is_marked(folder, "released")


def mark_judged(folder: Path) -> None:
    """Note that the gate let the batches of the finished build pass."""
    (folder / "build" / "judged").write_text(str((folder / "build" / "run_results.json").stat().st_mtime_ns))


def is_judged(folder: Path) -> bool:
    """Whether the gate let the batches of just this build pass; another build may have followed the one it judged."""
    return _is_marked(folder, "judged")


def _is_marked(folder: Path, name: str) -> bool:
    try:
        return (folder / "build" / name).read_text() == str((folder / "build" / "run_results.json").stat().st_mtime_ns)
    except FileNotFoundError:
        return False


def prepare(folder: Path | None = None, *, state: State | None = None, work: Path | None = None) -> Build:
    """Compare landing with the ledgers and write the build's files. To be called under :func:`build_lock`.

    Reads the names of the loads that landed, and the manifests of the new ones only. ``state`` and ``work`` are those of another
    engine; without them they are DuckDB's.

    Raises:
        BuildError: nothing was ever landed, or a build file cannot be opened.
    """
    folder = folder or data_dir()
    work = work or folder / "work"
    for path in (folder, folder / "work", work):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    entities = [entity for system in load_catalogue().values() for entity in system.entities]
    landing = Landing(folder / "landing")
    if state is None:
        shutil.rmtree(work / "spill", ignore_errors=True)  # what a killed build left
        (work / "spill").mkdir(mode=0o700)
        state = _state(folder, entities)
    fingerprints = model_fingerprints()
    changed = {name for name, built in state.fingerprints.items() if name in fingerprints and built != fingerprints[name]}
    changed_bases = {name for name in changed if name.startswith("base_")}
    # A base row that moves to another day, or goes, leaves nothing behind that would tell: what is made of the base is made anew.
    made_of_them = {name for name in state.fingerprints if changed_bases and changed_bases & set(made_from(name))}
    rebuild = sorted(changed | made_of_them)
    is_whole = state.whole == (state.last_build, project_fingerprint())
    loads_dir = work / "loads"
    shutil.rmtree(loads_dir, ignore_errors=True)
    loads_dir.mkdir(parents=True)
    as_of, is_demo, new_loads, new_rows = None, state.is_demo, 0, 0
    unchanged = ["resource_type:seed"] if is_whole else []
    for entity in entities:
        known = set() if f"base_{entity.key}" in rebuild else state.taken.get(entity.key, set())
        ids = landing.load_ids(entity.system, entity.name)
        fresh = [m for load_id in ids if load_id not in known and (m := landing.manifest(entity.system, entity.name, load_id))]
        replaced = {load_id for m in fresh for load_id in m.replaces}
        fresh = [m for m in fresh if m.load_id not in replaced]
        if is_whole and not fresh:
            unchanged += [f"base_{entity.key}", f"stg_{entity.key}", f"quarantine__{entity.key}"]
        new_loads += len(fresh)
        new_rows += sum(m.rows for m in fresh)
        is_demo = is_demo or any(m.is_demo for m in fresh)
        if ids and (until := _until(ids[-1])) and (as_of is None or until > as_of):
            as_of = until
        (loads_dir / f"{entity.key}.json").write_text(json.dumps([_load(entity, m) for m in fresh], ensure_ascii=False), encoding="utf-8")
    if as_of is None:
        raise BuildError("nothing has been pulled yet", where=str(landing.folder), next_step="pull at least one system, e.g. `make pull`")
    context = {
        "build_id": state.last_build + 1,
        "as_of": as_of.strftime("%Y-%m-%d %H:%M:%S"),
        "is_demo": is_demo,
        "rebuild": rebuild,
        "unchanged": unchanged,
        "fingerprints": {**fingerprints, PROJECT: project_fingerprint()},
    }
    (work / "build.json").write_text(json.dumps(context), encoding="utf-8")
    is_needed = bool(new_loads or rebuild or not is_whole)
    return Build(state.last_build + 1, as_of, new_loads, new_rows, rebuild, is_needed, unchanged)


@dataclass
class State:
    """What an engine's tables hold: loads taken by each entity, the last build, and the fingerprint each model was built with."""

    taken: dict[str, set[str]]
    last_build: int
    fingerprints: dict[str, str]
    is_demo: bool
    whole: tuple[int, str] = (0, "")


def _state(folder: Path, entities: list[Entity]) -> State:
    """The state of DuckDB's build files."""
    state = State({}, 0, {}, False)
    for database in DATABASES:
        path = folder / "build" / f"{database}.duckdb"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            continue
        try:
            with duckdb.connect(str(path), read_only=True) as connection:
                tables = {
                    f"{schema}.{name}"
                    for schema, name in connection.execute("select table_schema, table_name from information_schema.tables").fetchall()
                }
                if "internal.model_build" in tables:
                    for model, build_id, fingerprint in connection.execute("select * from internal.model_build").fetchall():
                        state.last_build = max(state.last_build, build_id)
                        if model == PROJECT:
                            state.whole = (build_id, fingerprint)
                        else:
                            state.fingerprints[model] = fingerprint
                for entity in entities if database == "warehouse" else []:
                    if f"ledger.{entity.key}__loads" in tables:
                        rows = connection.execute(f"select load_id, is_demo from ledger.{entity.key}__loads").fetchall()
                        state.taken[entity.key] = {load_id for load_id, _ in rows}
                        state.is_demo = state.is_demo or any(demo for _, demo in rows)
        except duckdb.Error as error:
            raise BuildError(
                f"the build file cannot be opened ({str(error).splitlines()[0]})",
                where=str(path),
                next_step="stop what holds it; if it is damaged, remove data/build and build again: landing holds everything",
            ) from error
    return state


def model_fingerprints() -> dict[str, str]:
    """Per model a hash of its SQL, of all macros, and of every model and seed it is made from, as far back as the base models.

    Where it changes, the model is built anew from what lies before it.
    """
    project = root() / "dbt_project"
    macros = hashlib.sha256(b"".join(path.read_bytes() for path in sorted((project / "macros").rglob("*.sql")))).digest()
    texts = _model_texts()
    out = {}
    for path in sorted((project / "models").rglob("*.sql")):
        names = [name for name in made_from(path.stem) if name == path.stem or not name.startswith("base_")]
        out[path.stem] = hashlib.sha256(macros + b"".join(texts[name] for name in names)).hexdigest()[:16]
    return out


def made_from(name: str) -> list[str]:
    """A model or seed and everything it names, and what that names, back to base models and seeds."""
    texts = _model_texts()
    found, waiting = {name}, [name]
    while waiting:
        current = waiting.pop()
        if current.startswith("base_"):
            continue
        named = set(re.findall(r"'(\w+)'", texts.get(current, b"").decode())) & set(texts)
        waiting += named - found
        found |= named
    return sorted(found)


def _model_texts() -> dict[str, bytes]:
    project = root() / "dbt_project"
    return {path.stem: path.read_bytes() for path in sorted(project.glob("seeds/**/*.csv")) + sorted(project.glob("models/**/*.sql"))}


def project_fingerprint() -> str:
    """A hash of everything that dbt builds from: where it changes, a build is due even without new loads."""
    project, digest = root() / "dbt_project", hashlib.sha256()
    for folder in ("models", "macros", "seeds"):
        for path in sorted((project / folder).rglob("*")):
            if path.suffix in (".sql", ".yml", ".csv"):
                digest.update(path.name.encode() + path.read_bytes())
    return hashlib.sha256(digest.digest() + (project / "dbt_project.yml").read_bytes()).hexdigest()[:16]


def _load(entity: Entity, manifest: Manifest) -> dict[str, Any]:
    seen = [name for name in manifest.columns if not name.startswith("_")]
    added = [name for name in seen if name not in entity.source_names]
    missing = [column.name for column in entity.columns if not {column.source_name, *column.synonyms} & set(seen)]
    utc = lambda text: datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f") if text else None  # noqa: E731
    return {
        "load_id": manifest.load_id,
        "window_since": utc(manifest.window_since),
        "window_until": utc(manifest.window_until),
        "landed_count": manifest.rows,
        "bytes": manifest.bytes,
        "contract_version": manifest.contract_version,
        "is_demo": manifest.is_demo,
        "started_at": utc(manifest.started_at),
        "ended_at": utc(manifest.ended_at),
        "added_columns": ",".join(added) if manifest.rows else "",
        "missing_columns": ",".join(missing) if manifest.rows else "",
        "files": [str(path) for path in manifest.parts],
        "columns": manifest.columns,
    }


def _until(load_id: str) -> datetime:
    return datetime.strptime(load_id.split("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
