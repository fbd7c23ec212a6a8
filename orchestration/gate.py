"""The gate as a stage of the way: hands batches and candidates to ``expectations`` and turns what it says into asset checks.

What is expected belongs in ``expectations/``; what happens to a refused candidate, in ``release.py``.
"""

import importlib
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.release import Verdict


def docs_dir(data: Path) -> Path:
    """Where the Data Docs lie: a part of the static site."""
    return data / "site" / "data_docs"


def make_ready() -> None:
    """Import Great Expectations, which takes seconds, in the background, while this process waits for something else."""
    threading.Thread(target=importlib.import_module, args=("great_expectations",), daemon=True).start()


def judge(candidate: Path, data: Path) -> Verdict:
    """The gate's verdict on the candidate release in the folder ``candidate``."""
    from expectations.gate import judge_candidate  # Great Expectations takes seconds to import

    return judge_candidate(candidate, docs_dir(data))


def judge_batches(data: Path) -> Verdict:
    """The gate's verdict on the batches of the build in ``data/build``."""
    from expectations.gate import judge_batches as judge_build

    return judge_build(data / "build", docs_dir(data))


def check_specs(asset: dg.AssetKey, phase: str) -> list[dg.AssetCheckSpec]:
    """One check for each suite that judges in ``phase``: ``batches`` or ``candidate``."""
    from expectations.suites_reader import read_suites

    return [
        dg.AssetCheckSpec(name=suite.name, asset=asset, description=f"{suite.title_zh} · {suite.title_en}")
        for suite in read_suites()
        if phase in suite.phases
    ]


def check_results(specs: Iterable[dg.AssetCheckSpec], findings: Iterable[Any]) -> Iterator[dg.AssetCheckResult]:
    """A result for each suite: passed where none of its findings failed; an error where a critical one did, else a warning."""
    findings = list(findings)
    for spec in specs:
        mine = [finding for finding in findings if finding.suite == spec.name]
        failed = [finding for finding in mine if not finding.passed]
        critical = any(finding.severity == "critical" for finding in failed)
        yield dg.AssetCheckResult(
            passed=not failed,
            check_name=spec.name,
            asset_key=spec.asset_key,
            severity=dg.AssetCheckSeverity.ERROR if critical else dg.AssetCheckSeverity.WARN,
            description="; ".join(finding.message_zh for finding in failed) or f"{len(mine)} 项满足",
            metadata={"expectations": len(mine)}
            | {f"{finding.expectation} {finding.where}": f"{finding.message_zh} · {finding.message_en}" for finding in failed[:20]},
        )
