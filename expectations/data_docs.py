"""Writes Data Docs: one page per suite and table, one per run, and an index of the last runs, all readable without a network.

Great Expectations renders a result to HTML parts; its own page templates load styles and scripts from other people's servers, so
the page around the parts comes from ``templates/`` here. Nothing is judged here.

    <docs_dir>/index.html
    <docs_dir>/runs/<run>/index.html             the verdict and what failed
    <docs_dir>/runs/<run>/<suite>--<table>.html
    <docs_dir>/runs/<run>/run.json               what the index needs to know
"""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from expectations.judging import Page
from expectations.suites_reader import Suite
from expectations.verdict import Verdict

#: Runs that are kept; older ones are removed with the next one written.
RUNS_KEPT = 30
TEMPLATES = Path(__file__).with_name("templates")


def write_run(docs_dir: Path, verdict: Verdict, pages: list[Page], suites: list[Suite], as_of: datetime) -> Path:
    """Write the pages of one run and the index, and remove runs beyond the newest ``RUNS_KEPT``.

    A run judged again replaces its pages: the same data has the same names.

    Returns:
        the run's own page.
    """
    view, renderer = _view(), _renderer()
    final = docs_dir / "runs" / _name(verdict.run)
    folder = final.with_name(f".{final.name}.{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    titles = {suite.name: suite for suite in suites}
    listed = []
    for page in pages:
        name = f"{_name(page.suite)}--{_name(_database(page))}--{_name(page.table)}.html"
        statistics = page.result.statistics
        title = titles[page.suite]
        listed.append(
            {
                "href": name,
                "title_zh": title.title_zh,
                "title_en": title.title_en,
                "table": _shown_table(page),
                "passed": statistics["successful_expectations"],
                "total": statistics["evaluated_expectations"],
            }
        )
        for noise in ("batch_markers", "batch_spec", "validation_time"):  # wall time and our own SQL: nothing a reader needs
            page.result.meta.pop(noise, None)
        document = renderer.render(page.result)
        html = view.render(document, title_zh=title.title_zh, title_en=title.title_en, table=_shown_table(page), run=verdict.run)
        # GX links a page of the suite itself, which is not written: the suite is a file of the repository
        html = re.sub(r'<a href="[^"]*expectations/[^"]*"\s*>([^<]*)</a>', r"\1", html)
        (folder / name).write_text(html, encoding="utf-8")

    summary = {
        "run": verdict.run,
        "subject": verdict.subject,
        "as_of": f"{as_of:%Y-%m-%d %H:%M} UTC",
        "refused": verdict.refused,
        "critical": len(verdict.failed("critical")),
        "warnings": len(verdict.failed("warning")),
        "total": len(verdict.findings),
    }
    (folder / "run.json").write_text(json.dumps(summary, ensure_ascii=False, sort_keys=True), encoding="utf-8")
    run_page = view.env.get_template("run.j2").render(verdict=verdict, summary=summary, pages=listed)
    (folder / "index.html").write_text(run_page, encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    folder.rename(final)
    _write_index(docs_dir, view)
    return final / "index.html"


def _write_index(docs_dir: Path, view: Any) -> None:
    """List the newest runs by the time they were judged, and remove the others."""
    runs = sorted(
        (path.parent for path in (docs_dir / "runs").glob("*/run.json") if not path.parent.name.startswith(".")),
        key=lambda folder: ((folder / "run.json").stat().st_mtime_ns, folder.name),
        reverse=True,
    )
    for old in runs[RUNS_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    summaries = [
        {**json.loads((folder / "run.json").read_text(encoding="utf-8")), "href": f"runs/{folder.name}/index.html"}
        for folder in runs[:RUNS_KEPT]
    ]
    scratch = docs_dir / f".index.{os.getpid()}"
    scratch.write_text(view.env.get_template("index.j2").render(runs=summaries), encoding="utf-8")
    os.replace(scratch, docs_dir / "index.html")


def _database(page: Page) -> str:
    return str(page.result.suite_name).split("--")[1]


def _shown_table(page: Page) -> str:
    return f"{_database(page)}.duckdb" if page.table.startswith("catalog.") else page.table


def _name(text: str) -> str:
    """A name that is safe as a file's and in an address."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip(".") or "run"


def _renderer() -> Any:
    from great_expectations.render.renderer import ValidationResultsPageRenderer

    return ValidationResultsPageRenderer(run_info_at_end=True)


def _view() -> Any:
    """GX's view of a result with our page around it: templates here come before the package's own of the same name."""
    from great_expectations.render.view import DefaultJinjaPageView
    from jinja2 import ChoiceLoader, FileSystemLoader

    view: Any = DefaultJinjaPageView()
    view.env.loader = ChoiceLoader([FileSystemLoader(TEMPLATES), view.env.loader])
    view.env.autoescape = lambda name: name in ("run.j2", "index.j2")
    return view
