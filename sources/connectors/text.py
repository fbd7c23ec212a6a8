"""JSON as the text that was sent: 1.10 stays 1.10. Shared by the connectors; what a value means does not belong here."""

from __future__ import annotations

import json
from typing import Any

import polars as pl


class Number(str):
    """A JSON number with the digits it was sent with."""


def parse(document: str) -> Any:
    """JSON with every number as a :class:`Number`. Raises ValueError where it is no JSON."""
    return json.loads(document, parse_int=Number, parse_float=Number)


def text_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Records as a frame of text columns named as in the source, in order of first appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame({name: pl.Series([as_text(row.get(name)) for row in rows], dtype=pl.String) for name in names})


def as_text(value: Any) -> str | None:
    """A scalar as its text, a nested value as JSON text, null as None."""
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    return _json(value)


def _json(value: Any) -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
