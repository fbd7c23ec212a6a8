"""Releases: audited copies of what a build may publish, switched in atomically, and the human act of publication.

Here belong candidates, content hashes, the two symlinks (``current``, ``public``), retention and the approval log. What the gate
judges belongs in ``expectations/``, how a build is made in ``warehouse.py`` and ``build.py``; nothing here imports Dagster.

Folder ``data/published``::

    <release_id>/{marts.duckdb, open_data.duckdb, _release.json}    complete once it has its name
    .candidate/<release_id>/                                         being made; a leftover is removed at the next start
    current -> <release_id>     what the last good build says        moved by a release
    public  -> <release_id>     whose open data residents see        moved by an approval or a withdrawal alone
    refused/<time>.txt          why a candidate did not become a release, a paragraph each

**Content hash.** SHA-256 over one line for each table of the schemas mart, governance (without release and publication_approval)
and open_data, sorted by name: the name, the columns with their types sorted by name, the number of rows, and the table's multiset
hash. A row's canonical text is, for every column, ``-:`` for null and else ``<bytes>:<text>``, so that null, empty text and
shifted columns all differ; its MD5 is a 128-bit number; the table's hash is the sum of the upper halves, the sum of the lower
halves and the exclusive or of the whole over all rows. Sums and exclusive or do not depend on row order or threads, and the
sums tell a row that stands twice from one that stands four times. Doubles enter with 12 significant digits, because the last
digits of a parallel sum depend on the order of addition. It guards against accidents, not against somebody who forges rows.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import duckdb
import yaml

from sources.errors import BuildError, ReleaseRefused, SscError
from sources.landing import sha256_of, sync
from sources.settings import data_dir as default_data_dir
from sources.settings import root

SHANGHAI = ZoneInfo("Asia/Shanghai")
OPEN_FILE = "open_data.duckdb"
FILES = {"marts.duckdb": ("mart", "governance"), OPEN_FILE: ("open_data",)}
LEFT_OUT = ("governance.release", "governance.publication_approval")
APPROVAL_FIELDS = (
    "release_id", "month", "table_name", "disclosure_review", "secrecy_review", "signed_by", "signed_at", "is_demo", "action",
)  # fmt: skip
RELEASE_ID = re.compile(r"\d{4}-\d{2}-\d{2}T\d{4}Z-[0-9a-f]{12}")
KEEP_LAST = 3
BAD_STATUS = ("fail", "error", "skipped", "runtime error", "partial success")


class Verdict(Protocol):
    """What the gate says of a candidate (``expectations.gate``)."""

    @property
    def refused(self) -> bool: ...

    @property
    def findings(self) -> Sequence[Any]: ...

    def paragraph(self) -> str: ...


Judge = Callable[[Path, Path], Verdict]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class TableMark:
    """Fingerprint of one table: ``columns`` as (name, type) sorted by name, number of rows, multiset hash."""

    name: str
    columns: tuple[tuple[str, str], ...]
    rows: int
    hash: str

    def line(self) -> str:
        columns = ",".join(f"{name} {kind}" for name, kind in self.columns)
        return f"{self.name}({columns}) {self.rows} {self.hash}"


@dataclass(frozen=True)
class Release:
    """One release as its ``_release.json`` describes it. ``is_new``: it was made by this call."""

    release_id: str
    path: Path
    as_of: datetime
    created_at: datetime
    content_hash: str
    is_demo: bool
    closed_month: str | None
    is_month_end: bool
    tables: dict[str, dict[str, Any]] = field(repr=False)
    files: dict[str, str] = field(repr=False)
    is_new: bool = False
    verdict: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Comparison:
    """Result of :func:`equal`: true when the two releases hold the same multisets of rows."""

    differences: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.differences


# --------------------------------------------------------------------------------------------------------------- content


def fingerprint(path: Path, schemas: Iterable[str]) -> dict[str, TableMark]:
    """Marks of every table of ``schemas`` in the DuckDB file ``path``, which is opened read-only.

    Returns:
        ``schema.table`` -> mark, sorted by name.

    Raises:
        BuildError: the file is missing, locked by a writer, or a table cannot be read.
    """
    wanted = ", ".join(f"'{schema}'" for schema in schemas)
    marks: dict[str, TableMark] = {}
    with open_file(path, read_only=True) as connection:
        tables = connection.execute(
            "select table_schema, table_name, column_name, data_type from information_schema.columns"
            f" where table_catalog = current_database() and table_schema in ({wanted}) order by all"
        ).fetchall()
        columns: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for schema, table, column, kind in tables:
            columns.setdefault((schema, table), []).append((column, kind))
        for (schema, table), described in sorted(columns.items()):
            name = f"{schema}.{table}"
            if name in LEFT_OUT:
                continue
            texts = ", ".join(f"{_text(column, kind)} as t{number}" for number, (column, kind) in enumerate(described))
            row_text = ", ".join(f"coalesce(strlen(t{number})::varchar, '-'), ':', t{number}" for number in range(len(described)))
            try:
                row = connection.execute(
                    "select count(*), sum((number >> 64)::ubigint),"
                    " sum((number & 18446744073709551615::uhugeint)::ubigint), bit_xor(number)"
                    f' from (select md5_number(concat({row_text})) as number from (select {texts} from "{schema}"."{table}"))'
                ).fetchone()
            except duckdb.Error as error:
                raise BuildError(
                    f"the table cannot be read ({_first_line(error)})",
                    where=f"{path.name} {name}",
                    next_step="a release holds tables only: materialise this model as a table in the same file, then build again",
                ) from error
            assert row is not None
            digest = hashlib.sha256(" ".join(str(value or 0) for value in row[1:]).encode()).hexdigest()
            marks[name] = TableMark(name, tuple(described), int(row[0]), digest[:32])
    return marks


def _text(column: str, kind: str) -> str:
    """SQL of a value's text, null for null."""
    name = '"' + column.replace('"', '""') + '"'
    if kind in ("DOUBLE", "FLOAT"):
        return f"format('{{:.12g}}', {name}::double + 0.0)"
    if kind == "VARCHAR":
        return name
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION")):
        return f"to_json({name})::varchar"
    return f"{name}::varchar"


def content_hash(marks: dict[str, TableMark]) -> str:
    """SHA-256 (hex) over the marks' lines, sorted by table name."""
    return hashlib.sha256("\n".join(marks[name].line() for name in sorted(marks)).encode()).hexdigest()


def marks_of(folder: Path) -> dict[str, TableMark]:
    """Marks of a folder that holds ``marts.duckdb`` and ``open_data.duckdb``: a build or a release."""
    marks: dict[str, TableMark] = {}
    for file, schemas in FILES.items():
        marks |= fingerprint(folder / file, schemas)
    return marks


def equal(a: Path, b: Path) -> Comparison:
    """Compare two releases (or builds) as multisets of rows; what ``_release.json`` says is not trusted.

    Returns:
        A comparison that is true when they are equal and else names every differing table, with the number of rows that stand
        on one side alone and an example.
    """
    left, right = marks_of(Path(a)), marks_of(Path(b))
    differences: list[str] = []
    for name in sorted(left.keys() | right.keys()):
        one, other = left.get(name), right.get(name)
        if one is None or other is None:
            differences.append(f"{name}: only in {b if one is None else a}")
        elif one.columns != other.columns:
            odd = sorted(set(one.columns) ^ set(other.columns))
            differences.append(f"{name}: columns differ: {', '.join(f'{column} {kind}' for column, kind in odd)}")
        elif (one.rows, one.hash) != (other.rows, other.hash):
            differences.append(_rows_apart(Path(a), Path(b), name, one))
    return Comparison(tuple(differences))


def _rows_apart(a: Path, b: Path, name: str, mark: TableMark) -> str:
    schema, table = name.split(".")
    file = next(file for file, schemas in FILES.items() if schema in schemas)
    selected = ", ".join(f'"{column}"' for column, _ in mark.columns)
    parts = []
    with _memory() as connection:
        connection.execute(f"attach '{_quoted(a / file)}' as a (read_only)")
        connection.execute(f"attach '{_quoted(b / file)}' as b (read_only)")
        for one, other, folder in (("a", "b", a), ("b", "a", b)):
            here, there = (f'select {selected} from {side}."{schema}"."{table}"' for side in (one, other))
            rows = f"{here} except all {there}"
            count = (connection.execute(f"select count(*) from ({rows})").fetchone() or (0,))[0]
            example = connection.execute(f"select * from ({rows}) order by all limit 1").fetchone()
            parts.append(f"{count} rows only in {folder}" + (f", e.g. {example}" if example else ""))
    return f"{name}: " + "; ".join(parts)


# --------------------------------------------------------------------------------------------------------------- making


def make_candidate(
    data_dir: Path | None = None,
    *,
    judge: Judge | None = None,
    progress: Progress | None = None,
) -> Release:
    """Copy the build's publishable files, let the gate judge the copy, and switch ``current`` to it.

    Repeatable: killed anywhere, the next call cleans up and ends in the same release; with the same content and ``as_of`` it
    returns the release that is there and copies nothing. The caller holds the build lock when others may build meanwhile.

    Args:
        data_dir: the data folder.
        judge: ``judge(candidate, data_dir)`` -> verdict; default :func:`orchestration.gate.judge`.
        progress: called with one line for each step.

    Raises:
        BuildError: there is no finished build, or it cannot be copied.
        ReleaseRefused: dbt tests failed or the gate refused; its text is the paragraph that also lies in ``refused/``.
    """
    data = Path(data_dir or default_data_dir())
    published, build = data / "published", data / "build"
    say = progress or (lambda line: None)
    if judge is None:
        from orchestration.gate import judge as gate_judge

        judge = gate_judge
    for file in FILES:
        if not (build / file).exists():
            raise BuildError("there is no build to release", where=str(build / file), next_step=_AGAIN)
    published.mkdir(parents=True, exist_ok=True)
    with release_lock(published):
        _clean(published)
        _sync_public(data)
        failures = dbt_failures(build / "run_results.json")
        if failures:
            raise refuse_failed_build(data, failures)
        for file in FILES:
            _checkpoint(build / file)
        say("hashing the content of the build")
        marks = marks_of(build)
        facts = _facts(build, data)
        whole_hash = content_hash(marks)
        release_id = f"{facts.as_of:%Y-%m-%dT%H%MZ}-{whole_hash[:12]}"
        folder = published / release_id
        if (folder / "_release.json").exists():
            _switch(published, "current", release_id)
            say(f"release {release_id} is there already and serves")
            return read_release(folder)
        if folder.exists():  # has its name but no description: never complete
            shutil.rmtree(folder)
        candidate = published / ".candidate" / release_id  # with its name already: the gate's report bears it
        candidate.mkdir(parents=True, mode=0o755)
        try:
            for file in FILES:
                say(f"copying {file} ({(build / file).stat().st_size / 1e6:,.1f} MB)")
                if file == OPEN_FILE:
                    _copy_rows(build / file, candidate / file)
                else:
                    _copy(build / file, candidate / file)
                _drop_internal(candidate / file)
            created_at = datetime.now(UTC).replace(microsecond=0)
            _write_governance(candidate / "marts.duckdb", release_id, whole_hash, created_at, facts, read_approvals(data))
            say("the gate judges the candidate")
            verdict = judge(candidate, data)
            if verdict.refused:
                raise refuse(data, verdict.paragraph(), candidate=release_id)
            description = {
                "release_id": release_id,
                "as_of": facts.as_of.isoformat(),
                "created_at": created_at.isoformat(),
                "content_hash": whole_hash,
                "is_demo": facts.is_demo,
                "closed_month": facts.closed_month,
                "is_month_end": _is_first_of(facts.closed_month, list_releases(data)),
                "tables": {name: {"rows": mark.rows, "hash": mark.hash, "columns": dict(mark.columns)} for name, mark in marks.items()},
                "files": {file: sha256_of(candidate / file) for file in FILES},
            }
            _write_synced(candidate / "_release.json", json.dumps(description, ensure_ascii=False, indent=1) + "\n")
            for file in FILES:
                (candidate / file).chmod(0o444)
            sync(candidate)
            os.rename(candidate, folder)
            sync(published)
        except OSError as error:
            raise _disk_error(error, candidate) from error
        finally:
            shutil.rmtree(candidate.parent, ignore_errors=True)
        _switch(published, "current", release_id)
        say(f"release {release_id} serves")
        for gone in _prune(data):
            say(f"removed release {gone}, which nothing refers to")
        made = read_release(folder)
        return Release(**{**_fields(made), "is_new": True, "verdict": verdict})


_AGAIN = "run `python -m orchestration warehouse`"


def check_judged(data: Path) -> None:
    """Raises ReleaseRefused where the gate has not let the batches of just this build pass."""
    from orchestration.build import is_judged

    if not is_judged(data):
        raise ReleaseRefused(
            "the gate has not let the batches of this build pass",
            where=str(data / "build"),
            next_step="run `make warehouse`: it judges the batches and then releases",
        )


def refuse(data: Path, paragraph: str, *, candidate: str = "") -> ReleaseRefused:
    """Write the reason to ``published/refused/<time>.txt``; the caller raises what this returns."""
    moment = datetime.now(UTC)
    path = data / "published" / "refused" / f"{moment:%Y-%m-%dT%H%M%S.%fZ}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    serving = read_link(data, "current")
    goes_on = f"{serving} goes on serving." if serving else "Nothing is released yet."
    text = f"{paragraph.strip()} {goes_on}"
    _write_synced(path, text + "\n")
    return ReleaseRefused(
        f"the release was refused. {text}",
        where=candidate or "data/build",
        next_step=f"mend what is named above and {_AGAIN}; this paragraph lies in {path}",
    )


def refuse_failed_build(data: Path, failures: list[str]) -> ReleaseRefused:
    """As :func:`refuse`, for a build of which dbt says what failed (:func:`dbt_failures`)."""
    return refuse(data, _dbt_paragraph(failures))


def dbt_failures(run_results: Path) -> list[str]:
    """What failed in the build that ``run_results`` (dbt's run_results.json) describes, one line each; ``warn`` is no failure.

    Raises:
        BuildError: the file is missing or unreadable: the last build did not finish.
    """
    try:
        results = json.loads(run_results.read_text(encoding="utf-8"))["results"]
    except (OSError, ValueError, KeyError) as error:
        raise BuildError("the last build did not finish", where=str(run_results), next_step=_AGAIN) from error
    failures = []
    for result in results:
        if result["status"] in BAD_STATUS:
            kind, *_, name = result["unique_id"].split(".")[:3]
            message = re.sub(r"\s+", " ", result.get("message") or "").strip()
            failures.append(f"{kind} {name} ({result['status']}{': ' + message[:160] if message else ''})")
    # What failed by itself first: what was skipped only follows from it.
    return sorted(failures, key=lambda line: ("(skipped" in line, line))


def _dbt_paragraph(failures: list[str]) -> str:
    caused = [line for line in failures if "(skipped" not in line] or failures
    shown = "; ".join(caused[:5]) + (f"; and {len(caused) - 5} more" if len(caused) > 5 else "")
    skipped = len(failures) - len(caused)
    followed = f" {skipped} further nodes were skipped because of them." if skipped else ""
    return f"dbt 有 {len(caused)} 项未通过 / dbt: {len(caused)} failed: {shown}.{followed}"


@dataclass(frozen=True)
class _Facts:
    as_of: datetime
    is_demo: bool
    closed_month: str | None
    contract_versions: dict[str, str]


def _facts(build: Path, data: Path) -> _Facts:
    with open_file(build / "marts.duckdb", read_only=True) as connection:
        try:
            ledger = connection.execute(
                "select system, entity, max(window_until), bool_or(is_demo), max(contract_version)"
                " from quality.load_ledger group by all order by all"
            ).fetchall()
        except duckdb.Error as error:
            raise BuildError(f"the ledger cannot be read ({_first_line(error)})", where="quality.load_ledger", next_step=_AGAIN) from error
        known: dict[str, str] = {}
        if connection.execute(
            "select 1 from information_schema.tables where table_catalog = current_database()"
            " and table_schema = 'governance' and table_name = 'system'"
        ).fetchone():
            rows = connection.execute("select system, version from governance.system order by system").fetchall()
            known = {system: str(version) for system, version in rows}
    if not ledger:
        raise BuildError(
            "nothing has been pulled yet, so there is nothing to release",
            where="quality.load_ledger",
            next_step="run `python -m orchestration pull`",
        )
    until = {(system, entity): _utc(moment) for system, entity, moment, _, _ in ledger}
    as_of = max(until.values())
    down = systems_down(systems_down_path(data), as_of)
    versions = {system: str(version) for system, _, _, _, version in ledger} | known
    return _Facts(
        as_of=as_of,
        is_demo=any(bool(row[3]) for row in ledger),
        closed_month=closed_month(until, set(known) | {system for system, _ in until}, down),
        contract_versions=dict(sorted(versions.items())),
    )


def closed_month(until: dict[tuple[str, str], datetime], systems: set[str], down: set[str]) -> str | None:
    """The last month (``YYYY-MM``, Asia/Shanghai) whose end every system that is not down has reached.

    Args:
        until: (system, entity) -> greatest window_until, with a time zone. A system has reached what all its entities have.
        systems: all that should deliver; one without any load has reached nothing.
        down: systems reported down; they are not waited for.
    """
    waited = systems - down
    if not waited or waited - {system for system, _ in until}:
        return None
    slowest = min(moment for (system, _), moment in until.items() if system in waited).astimezone(SHANGHAI)
    return f"{slowest.replace(day=1) - timedelta(days=1):%Y-%m}"


def systems_down_path(data: Path) -> Path:
    """The list of systems that are reported down: ``SSC_SYSTEMS_DOWN``, else ``systems_down.yml`` in the data folder."""
    return Path(os.environ.get("SSC_SYSTEMS_DOWN") or data / "systems_down.yml")


def systems_down(path: Path, as_of: datetime) -> set[str]:
    """Systems reported down at ``as_of``, from a YAML file that a person writes; empty when there is none.

    The file is a list of ``{system, since, until, reason}``; dates are days of Asia/Shanghai, both included; either may be left
    out. What was loaded at midnight belongs to the day that ended.

    Raises:
        SscError: the file is something else.
    """
    if not path.exists():
        return set()
    today = (as_of - timedelta(microseconds=1)).astimezone(SHANGHAI).date()
    try:
        down = set()
        for item in yaml.safe_load(path.read_text(encoding="utf-8")) or []:
            if (item.get("since") or date.min) <= today <= (item.get("until") or date.max):
                down.add(str(item["system"]))
        return down
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise SscError(
            f"the list of systems that are down cannot be read ({_first_line(error)})",
            where=str(path),
            next_step="write a list such as `- {system: waterlogging, since: 2026-10-03, reason: server moved}`",
        ) from error


def _is_first_of(month: str | None, releases: list[Release]) -> bool:
    return month is not None and all(r.closed_month is None or r.closed_month < month for r in releases)


def _drop_internal(path: Path) -> None:
    """The build's own book-keeping is no part of a release. What else does not belong there is left for the gate to refuse."""
    with open_file(path) as connection:
        connection.execute("drop schema if exists internal cascade")
        connection.execute("checkpoint")
    sync(path)


def _write_governance(
    path: Path, release_id: str, whole_hash: str, created_at: datetime, facts: _Facts, approvals: list[dict[str, Any]]
) -> None:
    with open_file(path) as connection:
        connection.execute("begin")
        connection.execute("create schema if not exists governance")
        for table in ("release", "publication_approval"):
            kind = connection.execute(
                "select table_type from information_schema.tables where table_catalog = current_database()"
                " and table_schema = 'governance' and table_name = ?",
                [table],
            ).fetchone()
            if kind:
                connection.execute(f"drop {'view' if kind[0] == 'VIEW' else 'table'} governance.{table}")
        connection.execute(
            "create table governance.release (release_id varchar, as_of timestamp, created_at timestamp, commit_id varchar,"
            " content_hash varchar, contract_versions varchar, method_version varchar, is_demo boolean)"
        )
        connection.execute(
            "insert into governance.release values (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                release_id, _naive(facts.as_of), _naive(created_at), _commit(), whole_hash,
                json.dumps(facts.contract_versions, ensure_ascii=False), _method_version(), facts.is_demo,
            ],
        )  # fmt: skip
        connection.execute(
            "create table governance.publication_approval (release_id varchar, month varchar, table_name varchar,"
            " disclosure_review varchar, secrecy_review varchar, signed_by varchar, signed_at timestamp, is_demo boolean,"
            " action varchar)"
        )
        for line in approvals:
            values = [line.get(name) for name in APPROVAL_FIELDS]
            values[APPROVAL_FIELDS.index("signed_at")] = _naive(datetime.fromisoformat(line["signed_at"]))
            connection.execute("insert into governance.publication_approval values (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        connection.execute("commit")
        connection.execute("checkpoint")
    sync(path)


def _commit() -> str:
    if os.environ.get("SSC_COMMIT"):
        return os.environ["SSC_COMMIT"]
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root(), capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _method_version() -> str:
    try:
        project = yaml.safe_load((root() / "dbt_project" / "dbt_project.yml").read_text(encoding="utf-8"))
    except OSError:
        return "unknown"
    return str((project.get("vars") or {}).get("method_version") or project.get("version") or "unknown")


# --------------------------------------------------------------------------------------------------------------- keeping


def read_release(folder: Path) -> Release:
    """The release in ``folder``.

    Raises:
        SscError: its description is missing or damaged.
    """
    try:
        described = json.loads((folder / "_release.json").read_text(encoding="utf-8"))
        return Release(
            release_id=described["release_id"],
            path=folder,
            as_of=datetime.fromisoformat(described["as_of"]),
            created_at=datetime.fromisoformat(described["created_at"]),
            content_hash=described["content_hash"],
            is_demo=described["is_demo"],
            closed_month=described["closed_month"],
            is_month_end=described["is_month_end"],
            tables=described["tables"],
            files=described["files"],
        )
    except (OSError, ValueError, KeyError) as error:
        raise SscError(
            f"the release's description cannot be read ({error})",
            where=str(folder / "_release.json"),
            next_step="restore the folder from the backup, or release again",
        ) from error


def list_releases(data_dir: Path | None = None) -> list[Release]:
    """All complete releases, oldest first (by as_of, then by the time they were made)."""
    published = Path(data_dir or default_data_dir()) / "published"
    folders = [path for path in published.glob("*Z-*") if RELEASE_ID.fullmatch(path.name) and (path / "_release.json").exists()]
    return sorted((read_release(folder) for folder in folders), key=lambda r: (r.as_of, r.created_at, r.release_id))


def read_link(data: Path, name: str) -> str | None:
    """The release id that the symlink ``current`` or ``public`` names."""
    try:
        return Path(os.readlink(data / "published" / name)).name
    except OSError:
        return None


def kept(data: Path) -> dict[str, str]:
    """release id -> why it must stay: one of the last three, month end, or named by a link, an approval or an edition."""
    releases = list_releases(data)
    reasons: dict[str, str] = {}
    for release in releases[-KEEP_LAST:]:
        reasons.setdefault(release.release_id, f"one of the last {KEEP_LAST}")
    for release in releases:
        if release.is_month_end:
            reasons.setdefault(release.release_id, f"month end of {release.closed_month}")
    for link in ("current", "public"):
        named = read_link(data, link)
        if named:
            reasons.setdefault(named, link)
    for line in read_approvals(data):
        reasons.setdefault(line["release_id"], f"named by an approval of {line['month']}")
    for file in sorted((data / "site" / "editions").glob("**/*.json")):
        for named in RELEASE_ID.findall(file.read_text(encoding="utf-8", errors="replace")):
            reasons.setdefault(named, f"named by the edition {file.name}")
    return reasons


def _prune(data: Path) -> list[str]:
    stay = kept(data)
    gone = [release for release in list_releases(data) if release.release_id not in stay]
    for release in gone:
        # First out of sight under another name, so that a half-deleted folder never looks like a release.
        doomed = release.path.parent / ".candidate" / release.release_id
        doomed.parent.mkdir(exist_ok=True)
        os.rename(release.path, doomed)
        shutil.rmtree(doomed.parent)
    return [release.release_id for release in gone]


def _clean(published: Path) -> None:
    if (published / ".candidate").exists():
        shutil.rmtree(published / ".candidate")
    for path in published.glob(".link-*"):
        path.unlink()


def _switch(published: Path, name: str, release_id: str) -> None:
    link = published / name
    if read_link(published.parent, name) == release_id:
        return
    temporary = published / f".link-{name}-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    os.symlink(release_id, temporary)
    os.replace(temporary, link)
    sync(published)


# --------------------------------------------------------------------------------------------------------------- publication


def read_approvals(data: Path) -> list[dict[str, Any]]:
    """The lines of ``data/publication.jsonl`` in order; a line without its line end was never finished and is left out.

    Raises:
        SscError: a finished line is damaged.
    """
    path = data / "publication.jsonl"
    if not path.exists():
        return []
    lines = []
    for number, text in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            line = json.loads(text)
            missing = [name for name in APPROVAL_FIELDS if name not in line]
        except ValueError:
            line, missing = None, ["everything"]
        if missing:
            raise SscError(
                f"the line is damaged: {', '.join(missing)} missing",
                where=f"{path} line {number}",
                next_step="restore data/publication.jsonl from the backup",
            )
        lines.append(line)
    return lines


def public_release(lines: Iterable[dict[str, Any]], exists: Callable[[str], bool] = lambda _: True) -> str | None:
    """The release that the log makes public: the last one approved that was not withdrawn since and still ``exists``."""
    approved: list[str] = []
    for line in lines:
        if line["release_id"] in approved:
            approved.remove(line["release_id"])
        if line["action"] == "approve":
            approved.append(line["release_id"])
    return next((release_id for release_id in reversed(approved) if exists(release_id)), None)


def approve(
    release_id: str,
    *,
    signed_by: str,
    month: str | None = None,
    tables: Sequence[str] = (),
    disclosure_review: str = "passed",
    secrecy_review: str = "passed",
    is_demo: bool | None = None,
    data_dir: Path | None = None,
) -> list[dict[str, Any]]:
    """Publish the open data of a release: append the approval to ``data/publication.jsonl``, then switch ``public``.

    Args:
        release_id: a whole id, ``current``, or the unambiguous beginning of an id.
        signed_by: the person who answers for both reviews.
        month: ``YYYY-MM``; default the release's latest month.
        tables: default every table of open_data in the release.
        disclosure_review, secrecy_review: ``passed``, with a note after a colon if wanted.
        is_demo: default what the release says of itself.

    Returns:
        The lines appended, one for each table; none when this very approval already stands.

    Raises:
        SscError: unknown release or table, nobody signs, a review that has not passed, a bad month.
    """
    data = Path(data_dir or default_data_dir())
    published = data / "published"
    if not signed_by.strip():
        raise SscError("an approval needs the name of who signs it", where=release_id, next_step="make approve RELEASE=… BY=<name>")
    for name, review in (("disclosure", disclosure_review), ("secrecy", secrecy_review)):
        if not re.match(r"passed\b", review):
            raise SscError(
                f"the {name} review is {review!r}",
                where=release_id,
                next_step="publish only what has passed both reviews; then say `passed` (and a note after a colon, if wanted)",
            )
    release = find_release(data, release_id)
    there = sorted(name for name in release.tables if name.startswith("open_data."))
    chosen = [name if "." in name else f"open_data.{name}" for name in tables] or there
    unknown = sorted(set(chosen) - set(there))
    if unknown:
        raise SscError(f"it has no open table {', '.join(unknown)}", where=release.release_id, next_step=f"use some of {', '.join(there)}")
    if missing := sorted(set(there) - set(chosen)):
        raise SscError(
            f"the approval leaves out {', '.join(missing)}, but residents see a release whole",
            where=release.release_id,
            next_step="review those tables too and approve them all, or approve nothing",
        )
    month = month or _latest_month(release)
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise SscError(f"{month!r} is no month", where=release.release_id, next_step="write it as 2026-09")
    with release_lock(published):
        lines = read_approvals(data)
        standing = {
            line["table_name"]
            for line in _since_last(lines, release.release_id)
            if (line["month"], line["signed_by"]) == (month, signed_by.strip())
        }
        new: list[dict[str, Any]] = []
        if public_release(lines) != release.release_id or not set(chosen) <= standing:
            moment = datetime.now(UTC).replace(microsecond=0).isoformat()
            new = [
                dict(
                    zip(
                        APPROVAL_FIELDS,
                        (
                            release.release_id, month, table, disclosure_review, secrecy_review, signed_by.strip(), moment,
                            release.is_demo if is_demo is None else is_demo, "approve",
                        ),
                        strict=True,
                    )
                )
                for table in chosen
            ]  # fmt: skip
            _append(data, new)
        _sync_public(data)
    return new


def withdraw(release_id: str | None = None, *, signed_by: str, data_dir: Path | None = None) -> str | None:
    """Take a release (default the public one) back; ``public`` goes to the one approved before it, or away.

    Returns:
        The release that is public now.

    Raises:
        SscError: nothing is public, or the named release is not approved.
    """
    data = Path(data_dir or default_data_dir())
    published = data / "published"
    if not signed_by.strip():
        raise SscError("a withdrawal needs the name of who signs it", next_step="make withdraw BY=<name>")
    published.mkdir(parents=True, exist_ok=True)
    with release_lock(published):
        lines = read_approvals(data)
        now_public = public_release(lines)
        if now_public is None:
            _sync_public(data)
            raise SscError(
                "nothing is public",
                where=str(published / "public"),
                next_step="nothing to do; `make approve` publishes a release",
            )
        named = find_release(data, release_id).release_id if release_id else now_public
        standing = _since_last(lines, named)
        if not standing:
            raise SscError("it is not approved, so it cannot be withdrawn", where=named, next_step=f"the public release is {now_public}")
        moment = datetime.now(UTC).replace(microsecond=0).isoformat()
        _append(data, [{**line, "signed_by": signed_by.strip(), "signed_at": moment, "action": "withdraw"} for line in standing])
        return _sync_public(data)


def _since_last(lines: list[dict[str, Any]], release_id: str) -> list[dict[str, Any]]:
    """The approvals of a release that no withdrawal has ended, the last one of each table."""
    standing: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        if line["release_id"] == release_id:
            if line["action"] == "withdraw":
                standing.clear()
            else:
                standing[(line["month"], line["table_name"])] = line
    return list(standing.values())


def find_release(data: Path, release_id: str) -> Release:
    """The release named by a whole id, an unambiguous beginning of one, ``current`` or ``public``.

    Raises:
        SscError: there is none, or several.
    """
    if release_id in ("current", "public"):
        release_id = read_link(data, release_id) or release_id
    releases = list_releases(data)
    found = [r for r in releases if r.release_id == release_id] or [
        r for r in releases if release_id and r.release_id.startswith(release_id)
    ]
    if len(found) != 1:
        there = ", ".join(r.release_id for r in releases) or "none yet"
        raise SscError(
            "there is no such release" if not found else "several releases begin so",
            where=release_id or "(empty)",
            next_step=f"name one of: {there}" if releases else f"make one first: {_AGAIN}",
        )
    return found[0]


def _latest_month(release: Release) -> str:
    with open_file(release.path / "open_data.duckdb", read_only=True) as connection:
        try:
            row = connection.execute("select max(latest_month) from open_data.about").fetchone()
        except duckdb.Error:
            row = None
    month = (row and row[0]) or release.closed_month
    if not month:
        raise SscError("its latest month is unknown", where=release.release_id, next_step="name it: MONTH=2026-09")
    return str(month)


def _append(data: Path, lines: list[dict[str, Any]]) -> None:
    path = data / "publication.jsonl"
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "r+b") as file:
        there = file.read()
        file.seek(there.rfind(b"\n") + 1)  # an unfinished last line was never acknowledged: it goes
        file.truncate()
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sync(data)


def _sync_public(data: Path) -> str | None:
    """Make ``public`` what the log says: the log is written first, so a kill between the two is mended here."""
    published = data / "published"
    named = public_release(read_approvals(data), lambda r: (published / r / "_release.json").exists())
    if named:
        _switch(published, "public", named)
    else:
        (published / "public").unlink(missing_ok=True)
    return named


# --------------------------------------------------------------------------------------------------------------- files


@contextmanager
def release_lock(published: Path) -> Iterator[None]:
    """Only one process makes, removes or publishes releases at a time."""
    published.mkdir(parents=True, exist_ok=True)
    with open(published / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _memory() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    try:
        connection.execute("set timezone = 'UTC'")
        yield connection
    finally:
        connection.close()


@contextmanager
def open_file(path: Path, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose current database is the DuckDB file ``path``, in UTC.

    Raises:
        BuildError: the file is missing, or another process writes it.
    """
    if not path.exists():
        raise BuildError("the file is missing", where=str(path), next_step=_AGAIN)
    with _memory() as connection:
        try:
            # Under a name of its own: in a database named open_data, DuckDB takes open_data.about to be ambiguous.
            connection.execute(f"attach '{_quoted(path)}' as file{' (read_only)' if read_only else ''}")
            connection.execute("use file")
        except duckdb.Error as error:
            raise BuildError(
                f"the file cannot be opened ({_first_line(error)})",
                where=str(path),
                next_step="wait until the program that writes it has ended, or end it; then repeat",
            ) from error
        yield connection


def _checkpoint(path: Path) -> None:
    with open_file(path) as connection:
        connection.execute("checkpoint")


def _copy(source: Path, target: Path) -> None:
    wal = source.with_name(source.name + ".wal")
    if wal.exists():
        raise BuildError("there is a write-ahead log after the checkpoint", where=str(wal), next_step="end the program that writes it")
    free = shutil.disk_usage(target.parent).free
    if free < source.stat().st_size * 1.05 + 16e6:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    shutil.copyfile(source, target)
    sync(target)


def _copy_rows(source: Path, target: Path) -> None:
    """A new file of the rows alone: a copied file would carry blocks that earlier builds freed, with figures since withheld."""
    with _memory() as connection:
        connection.execute(f"attach '{_quoted(source)}' as source (read_only); attach '{_quoted(target)}' as target")
        connection.execute("copy from database source to target; checkpoint target; detach target; detach source")
    sync(target)


def _write_synced(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _disk_error(error: OSError, where: Path) -> SscError:
    if error.errno == errno.ENOSPC:
        return BuildError("the disk is full", where=str(where), next_step="free some space and repeat; the last release goes on serving")
    return BuildError(f"the release cannot be written ({error})", where=str(where), next_step="mend it and repeat")


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _naive(moment: datetime) -> datetime:
    return _utc(moment).replace(tzinfo=None)


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("'", "''")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _fields(release: Release) -> dict[str, Any]:
    return {name: getattr(release, name) for name in release.__dataclass_fields__}


# --------------------------------------------------------------------------------------------------------------- command


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m orchestration.release build|approve|withdraw|list|compare``. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.release", description="releases and their publication")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="release what data/build holds")
    commands.add_parser("list", help="releases, why each is kept, what serves and what is public")
    command = commands.add_parser("approve", help="publish the open data of a release")
    command.add_argument("release", help="id, its beginning, or `current`")
    command.add_argument("--by", required=True, help="who signs")
    command.add_argument("--month", help="YYYY-MM; default the release's latest month")
    command.add_argument("--tables", nargs="*", default=(), help="default every open table")
    command.add_argument("--disclosure-review", default="passed")
    command.add_argument("--secrecy-review", default="passed")
    command.add_argument("--demo", action="store_true", default=None, help="signed by the demo approver")
    command = commands.add_parser("withdraw", help="take the public release back")
    command.add_argument("release", nargs="?")
    command.add_argument("--by", required=True, help="who signs")
    command = commands.add_parser("compare", help="are two release folders equal as multisets of rows?")
    command.add_argument("a", type=Path)
    command.add_argument("b", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen)
    except SscError as error:
        print(error, file=sys.stderr)
        return 1


def _run(chosen: argparse.Namespace) -> int:
    data = default_data_dir()
    if chosen.command == "build":
        from orchestration.build import build_lock

        with build_lock():
            check_judged(data)
            release = make_candidate(data, progress=lambda line: print(f"release: {line}", flush=True))
        print(release.release_id)
    elif chosen.command == "list":
        current, public, reasons = read_link(data, "current"), read_link(data, "public"), kept(data)
        for release in list_releases(data):
            marks = [name for name, link in (("current", current), ("public", public)) if link == release.release_id]
            rows = sum(table["rows"] for table in release.tables.values())
            print(f"{release.release_id}  {rows:>10,} rows  {reasons.get(release.release_id, '')}  {' '.join(marks)}".rstrip())
    elif chosen.command == "approve":
        lines = approve(
            chosen.release,
            signed_by=chosen.by,
            month=chosen.month,
            tables=chosen.tables,
            disclosure_review=chosen.disclosure_review,
            secrecy_review=chosen.secrecy_review,
            is_demo=chosen.demo,
        )
        public = read_link(data, "public")
        if lines:
            reviews = f"the disclosure and the secrecy review of {lines[0]['month']} passed"
            print(f"{public} is public: {chosen.by} states that {reviews}")
        else:
            print(f"{public} is public already; nothing was added")
    elif chosen.command == "withdraw":
        public = withdraw(chosen.release, signed_by=chosen.by, data_dir=data)
        print(f"{public} is public now" if public else "nothing is public now")
    else:
        comparison = equal(chosen.a, chosen.b)
        print("equal" if comparison else "\n".join(comparison.differences))
        return 0 if comparison else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
