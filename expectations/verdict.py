"""What the gate says: findings and the verdict made of them. How it comes to them is in ``gate`` and ``judging``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One expectation over one table (and column), judged.

    ``observed`` is a count or a short statement and never holds values of the data. ``next_step`` is Chinese,
    ``next_step_en`` the same in English.
    """

    suite: str
    expectation: str
    table: str
    column: str | None
    passed: bool
    severity: str
    observed: str
    message_zh: str
    message_en: str
    next_step: str
    next_step_en: str = ""

    @property
    def where(self) -> str:
        """``schema.table`` or ``schema.table.column``."""
        return f"{self.table}.{self.column}" if self.column else self.table


@dataclass(frozen=True)
class Verdict:
    """All findings of one judgement, in the order of suites and tables.

    ``subject`` is ``batches`` or ``candidate``; ``run`` the name under which Data Docs keep it; ``docs`` its page, if written.
    """

    subject: str
    run: str
    findings: list[Finding] = field(default_factory=list)
    docs: Path | None = None

    @property
    def refused(self) -> bool:
        """Whether a critical expectation failed."""
        return bool(self.failed("critical"))

    def failed(self, severity: str | None = None) -> list[Finding]:
        """The findings that failed, of one severity or of all."""
        return [each for each in self.findings if not each.passed and severity in (None, each.severity)]

    def paragraph(self) -> str:
        """Why it was refused, or that it was not: one paragraph in Chinese, then one in English."""
        return f"{self.paragraph_zh()}\n\n{self.paragraph_en()}"

    def paragraph_zh(self) -> str:
        """The Chinese paragraph."""
        what = {"batches": "本批数据", "candidate": "候选发布"}[self.subject]
        critical, warnings = self.failed("critical"), self.failed("warning")
        if critical:
            reasons = "；".join(f"（{n}）{each.message_zh}。处理：{each.next_step}" for n, each in enumerate(critical, 1))
            opening = f"{what}（{self.run}）被拒绝，上一个合格的发布继续对外服务。共 {len(critical)} 项关键预期未满足：{reasons}。"
        else:
            opening = f"{what}（{self.run}）通过：{len(self.findings)} 项预期中没有关键项未满足。"
        if warnings:
            notes = "；".join(each.message_zh for each in warnings)
            opening += f"另有 {len(warnings)} 项提醒，不影响发布：{notes}。"
        return opening

    def paragraph_en(self) -> str:
        """The English paragraph."""
        what = {"batches": "The batches", "candidate": "The candidate release"}[self.subject]
        critical, warnings = self.failed("critical"), self.failed("warning")
        if critical:
            reasons = "; ".join(f"({n}) {each.message_en}. Next: {each.next_step_en}" for n, each in enumerate(critical, 1))
            opening = (
                f"{what} ({self.run}): refused; the last good release goes on serving. "
                f"{len(critical)} critical expectation(s) failed: {reasons}."
            )
        else:
            opening = f"{what} ({self.run}): passed; none of {len(self.findings)} expectations failed critically."
        if warnings:
            notes = "; ".join(each.message_en for each in warnings)
            opening += f" {len(warnings)} warning(s) that do not hold the release back: {notes}."
        return opening
