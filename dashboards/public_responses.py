"""What visitors without an account are not told in Superset's answers about dashboards: SQL text, people, database details.

And the language of a public dashboard: a page whose slug ends in ``-en`` opens in English, its Chinese twin in Chinese.
"""

from __future__ import annotations

import re
from typing import Any

from flask import Flask, Response, request, session
from superset.utils import json

from dashboards.security_manager import is_visitor

_ABOUT_DASHBOARDS = re.compile(r"^/api/v1/(dashboard|chart)/")
_PAGE = re.compile(r"^/superset/dashboard/([\w-]+)/?$")
_UNTOLD = {
    "sql",
    "select_star",
    "owners",
    "created_by",
    "changed_by",
    "changed_by_name",
    "database",
    "perm",
    "schema_perm",
    "catalog_perm",
    "edit_url",
    "roles",
}


def redacted(value: Any) -> Any:
    """The same JSON value without the keys that visitors are not told."""
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items() if key not in _UNTOLD}
    return [redacted(item) for item in value] if isinstance(value, list) else value


def register(app: Flask, public_slugs: set[str]) -> None:
    """Add both to the application.

    Args:
        app: Superset's application.
        public_slugs: the Chinese slugs of the public dashboards; the English ones are made of them.
    """

    @app.before_request
    def choose_language() -> None:
        page = _PAGE.match(request.path)
        if page and is_visitor() and page[1].removesuffix("-en") in public_slugs:
            session["locale"] = "en" if page[1].endswith("-en") else "zh"

    @app.after_request
    def redact(response: Response) -> Response:
        is_about = _ABOUT_DASHBOARDS.match(request.path) and not request.path.startswith("/api/v1/chart/data")
        if is_about and response.is_json and request.method == "GET" and is_visitor():
            response.set_data(json.dumps(redacted(response.get_json())))
        return response
