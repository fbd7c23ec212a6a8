"""Who may import whom: the contracts of ``[tool.importlinter]``, and what import-linter cannot see: names in text and truth files.

What a module holds is not judged here.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("sources", "orchestration", "expectations", "dashboards")
DISTRICT = ROOT / "sources/reference_district"
STARTS_THE_DISTRICT = {"orchestration/demo.py"}  # as another process, by its command line
OF_SOURCES = {"dashboards": {"sources.errors", "sources.settings"}}
PRODUCT = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")) if not path.is_relative_to(DISTRICT)]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the packages in ``folder``, with the contracts of its pyproject.toml."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def imported(tree: ast.AST) -> set[str]:
    """Modules that a module imports anywhere in its text, functions included; ``from a import b`` gives ``a`` and ``a.b``."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def texts(tree: ast.AST) -> list[str]:
    """The string constants of a module, parts of f-strings included, docstrings left out."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings]
    return [node.value for node in constants if isinstance(node.value, str)]


def reaches_the_district(tree: ast.AST, *, may_start: bool = False) -> list[str]:
    """What in a module imports the reference district, by statement or by a name in text, or names its truth files."""
    found = [name for name in imported(tree) if name.split(".")[:2] == ["sources", "reference_district"]]
    for text in texts(tree):
        if "sources.reference_district" in text and not may_start:
            found.append(text)
        if re.search(r"\btruth\b", text):
            found.append(text)
    return found


def test_contracts_are_kept() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout
    assert re.search(r"Contracts: \d+ kept, 0 broken", done.stdout), done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("sources/landing.py", "import sources.reference_district.clock", "The reference district plays the departments"),
        ("orchestration/pull.py", "def f():\n    from sources import reference_district", "The reference district plays the departments"),
        ("sources/reference_district/clock.py", "import sources.landing", "The reference district knows the product"),
        ("sources/protect.py", "import orchestration.alerts", "Sources know nothing"),
        ("sources/settings.py", "import sources.catalogue", "Within sources"),
        ("expectations/verdict.py", "import orchestration.alerts", "Expectations lean"),
        ("dashboards/cache.py", "import sources.landing", "Dashboards read releases"),
        ("orchestration/superset.py", "import dashboards.cache", "Orchestration starts"),
    ],
)
def test_a_broken_contract_is_found(tmp_path: Path, module: str, line: str, contract: str) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "assets", "suites"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout
    broken = [name for name in done.stdout.splitlines() if name.endswith("BROKEN")]
    assert any(name.startswith(contract) for name in broken), done.stdout


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_reaches_the_reference_district(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    found = reaches_the_district(ast.parse(path.read_text(encoding="utf-8")), may_start=name in STARTS_THE_DISTRICT)
    assert not found, f"{name}: {found}"


@pytest.mark.parametrize(
    "code",
    [
        "import sources.reference_district",
        "def f():\n    from sources.reference_district import truth_of",
        "from sources import reference_district",
        "importlib.import_module('sources.reference_district.clock')",
        "path = data / 'reference_district' / 'truth' / 'x.json'",
        "path = f'{data}/reference_district/truth/x.json'",
    ],
)
def test_a_way_to_the_reference_district_is_found(code: str) -> None:
    assert reaches_the_district(ast.parse(code))


def test_nothing_in_sql_or_yaml_reads_the_truth() -> None:
    for folder in (*PACKAGES, "dbt_project"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".sql", ".yml", ".yaml", ".j2") and "target" not in path.relative_to(ROOT).parts:
                assert not re.search(r"reference_district|\btruth/", path.read_text(encoding="utf-8")), path.relative_to(ROOT)


@pytest.mark.parametrize("package", sorted(OF_SOURCES))
def test_what_a_package_takes_of_sources(package: str) -> None:
    """A list of what may be imported, so that a new module of sources is closed until somebody opens it."""
    for path in sorted((ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        taken = {name for name in modules if name.split(".")[0] == "sources"}
        assert taken <= OF_SOURCES[package], f"{path.relative_to(ROOT)}: {sorted(taken - OF_SOURCES[package])}"


def test_the_product_does_without_its_tests() -> None:
    for path in (*PRODUCT, *DISTRICT.rglob("*.py")):
        names = imported(ast.parse(path.read_text(encoding="utf-8")))
        assert not {name for name in names if name.split(".")[0] == "tests"}, path.relative_to(ROOT)
