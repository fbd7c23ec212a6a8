"""The assets as Superset imports them: the YAML under ``assets/``, and the English twins made of it with ``translations/en.yml``.

Reads and translates; imports nothing into Superset and knows no database. Runs in both environments.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sources.errors import SscError

HERE = Path(__file__).resolve().parent
KINDS = ("databases", "datasets", "charts", "dashboards")
CHINESE = re.compile(r"[\u3400-\u9fff]")
METADATA = "version: 1.0.0\ntype: assets\ntimestamp: '2000-01-01T00:00:00+00:00'\n"
Assets = dict[str, dict[str, dict[str, Any]]]


class MissingTranslation(SscError):
    """A Chinese text of the assets has no English."""


def read(folder: Path = HERE / "assets") -> Assets:
    """The assets by kind and file name without its ending.

    Raises:
        SscError: a file is no YAML mapping, or two carry one UUID.
    """
    assets: Assets = {kind: {} for kind in KINDS}
    seen: dict[str, Path] = {}
    for kind in KINDS:
        for path in sorted((folder / kind).glob("*.yaml")):
            try:
                asset = yaml.safe_load(path.read_text())
                key = asset["uuid"]
            except (yaml.YAMLError, TypeError, KeyError) as error:
                raise SscError(f"not an asset of Superset ({error!r})", where=str(path), next_step="mend the file") from error
            if key in seen:
                raise SscError(f"same uuid as {seen[key]}", where=str(path), next_step="give one of them a new uuid") from None
            seen[key] = path
            assets[kind][path.stem] = asset
    return assets


def english_uuid(of: str) -> str:
    """The UUID of the English twin of an asset."""
    return str(uuid.uuid5(uuid.UUID(of), "en"))


class Translator:
    """Translates the texts of an asset; collects what is missing.

    Args:
        texts: Chinese text: English text. A longer text of an asset (SQL, CSS, Markdown) is translated piece by piece.
        without_english: columns ``<name>_zh`` of the open data that have no ``<name>_en``.
    """

    def __init__(self, texts: dict[str, str], without_english: set[str]) -> None:
        self._texts = texts
        self._pieces = sorted(texts, key=len, reverse=True)
        self._without_english = without_english
        self.missing: set[str] = set()

    def text(self, text: str) -> str:
        """One text in English; what has no translation stays and is noted in ``missing``."""
        if not CHINESE.search(text):
            return text
        if text in self._texts:
            return self._texts[text]
        for piece in self._pieces:
            text = text.replace(piece, self._texts[piece])
        for line in text.splitlines():
            if CHINESE.search(line):
                self.missing.add(line.strip())
        return text

    def sql(self, sql: str) -> str:
        """SQL with its literals translated and ``_zh`` columns replaced by ``_en``."""

        def literal(match: re.Match[str]) -> str:
            return "'" + self.text(match[1].replace("''", "'")).replace("'", "''") + "'"

        sql = re.sub(r"'((?:[^']|'')*)'", literal, sql)
        return re.sub(r"\b(\w+)_zh\b", lambda match: match[0] if match[0] in self._without_english else f"{match[1]}_en", sql)

    def value(self, value: Any, key: str = "") -> Any:
        """Any value of an asset, keys of mappings included."""
        if isinstance(value, dict):
            return {self.text(k) if isinstance(k, str) else k: self.value(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(item, key) for item in value]
        if isinstance(value, str):
            return self.sql(value) if key == "sql" else self.text(value)
        return value


def _replaced(value: Any, replacements: dict[str, str]) -> Any:
    """The same value with each text that equals a key replaced."""
    if isinstance(value, dict):
        return {k: _replaced(v, replacements) for k, v in value.items()}
    if isinstance(value, list):
        return [_replaced(item, replacements) for item in value]
    return replacements.get(value, value) if isinstance(value, str) else value


def chart_uuids(dashboard: dict[str, Any]) -> list[str]:
    """The charts that stand on a dashboard."""
    return [node["meta"]["uuid"] for node in dashboard["position"].values() if isinstance(node, dict) and node["type"] == "CHART"]


def english(assets: Assets, translations: dict[str, Any]) -> Assets:
    """The English twins of the dashboards that the translation file names, with their charts and datasets.

    Raises:
        MissingTranslation: naming every text that has none.
    """
    translator = Translator(translations["texts"], set(translations["columns_without_english"]))
    dashboards = {name: assets["dashboards"][name] for name in translations["dashboards"]}
    wanted = {key for dashboard in dashboards.values() for key in chart_uuids(dashboard)}
    charts = {name: chart for name, chart in assets["charts"].items() if chart["uuid"] in wanted}
    datasets = {
        name: dataset
        for name, dataset in assets["datasets"].items()
        if dataset["uuid"] in {chart["dataset_uuid"] for chart in charts.values()}
    }
    twins: Assets = {"databases": {}, "datasets": datasets, "charts": charts, "dashboards": dashboards}
    uuids = {asset["uuid"]: english_uuid(asset["uuid"]) for kind in twins.values() for asset in kind.values()}
    made: Assets = {
        kind: {f"{name}_en": _replaced(translator.value(asset), uuids) for name, asset in of_kind.items()}
        for kind, of_kind in twins.items()
    }
    for dataset in made["datasets"].values():
        dataset["table_name"] += "_en"
    for dashboard in made["dashboards"].values():
        dashboard["slug"] += "-en"
    if translator.missing:
        listed = "; ".join(sorted(translator.missing))
        raise MissingTranslation(
            f"no English for: {listed}", where="dashboards/translations/en.yml", next_step="add these texts under `texts`"
        )
    return made


def everything() -> Assets:
    """The assets of the repository and their English twins."""
    assets = read()
    twins = english(assets, yaml.safe_load((HERE / "translations" / "en.yml").read_text()))
    return {kind: {**assets[kind], **twins[kind]} for kind in KINDS}


def _files(assets: Assets) -> Iterator[tuple[str, str]]:
    yield "metadata.yaml", METADATA
    for kind in KINDS:
        for name, asset in sorted(assets[kind].items()):
            yield f"{kind}/{name}.yaml", yaml.safe_dump(asset, allow_unicode=True, sort_keys=False)


def contents(assets: Assets) -> dict[str, str]:
    """The assets as the files that Superset's import command takes."""
    return dict(_files(assets))
