"""Superset's Chinese, corrected by ``translations/zh.yml`` where it is wrong. Translations of our own texts are in ``bundle``."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import yaml
from flask import Flask, Response, request


def corrected_pack() -> str:
    """The Chinese messages of Superset's pages as JSON, with the corrections."""
    pack = json.loads((files("superset") / "translations" / "zh" / "LC_MESSAGES" / "messages.json").read_text("utf-8"))
    messages = pack["locale_data"]["superset"]
    corrections = yaml.safe_load((Path(__file__).resolve().parent / "translations" / "zh.yml").read_text())
    for text, chinese in corrections.items():
        messages[text] = [chinese] * max(1, len(messages.get(text, [])))
    return json.dumps(pack, ensure_ascii=False)


def register(app: Flask) -> None:
    """Answer requests for the Chinese messages with the corrected ones."""
    pack = corrected_pack()

    @app.before_request
    def chinese_messages() -> Response | None:
        if request.path.rstrip("/") != "/superset/language_pack/zh":
            return None
        return Response(pack, mimetype="application/json", headers={"Cache-Control": "public, max-age=3600"})
