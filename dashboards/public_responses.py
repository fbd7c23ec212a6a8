"""Which addresses answer visitors without an account at all, and what they are not told in the answers about dashboards.

An address that is not listed here is closed to visitors whatever Superset's permissions say: a later version may add some. The
answers about dashboards lose SQL text, people and database details. A dashboard opens in its own language: one whose slug ends in
``-en`` in English, its twin in Chinese. And people who have nothing but dashboards begin at one, not at an empty welcome.
"""

from __future__ import annotations

import re
from typing import Any

from flask import Flask, Response, make_response, redirect, request, session
from flask_login import current_user
from superset import security_manager
from superset.utils import json

from dashboards.security_manager import is_visitor

_ABOUT_DASHBOARDS = re.compile(r"^/api/v1/(dashboard|chart)/")
_PAGE = re.compile(r"^/superset/dashboard/([\w-]+)/?$")
_OPEN = [
    (methods, re.compile(f"^{path}$"))
    for methods, path in (
        ("GET POST", r"/login/?"),
        ("GET", r"/logout/?"),
        ("GET", r"/(health|healthcheck|ping)"),
        ("GET", r"/(static|brand|site)/.*"),
        ("GET", r"/(favicon\.ico|robots\.txt)"),
        ("GET", r"/lang/(zh|en)"),
        ("GET", r"/superset/language_pack/[a-z_A-Z]+/?"),
        ("GET", r"/superset/dashboard/[\w-]+/?"),
        ("GET", r"/api/v1/dashboard/[\w-]+"),
        ("GET", r"/api/v1/dashboard/[\w-]+/(charts|datasets|tabs)"),
        ("POST PUT GET", r"/api/v1/dashboard/\d+/filter_state(/[\w-]+)?"),
        ("POST", r"/api/v1/chart/data"),
        ("POST", r"/superset/log/"),  # the page reports its timings; superset_config drops them
    )
]
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


def is_open(method: str, path: str) -> bool:
    """Whether a visitor may ask this at all (what is answered is decided further on)."""
    return any(("GET" if method == "HEAD" else method) in methods.split() and page.match(path) for methods, page in _OPEN)


def redacted(value: Any) -> Any:
    """The same JSON value without the keys that visitors are not told."""
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items() if key not in _UNTOLD}
    return [redacted(item) for item in value] if isinstance(value, list) else value


def register(app: Flask, *, public: str, internal: str) -> None:
    """Add all of it to the application.

    Args:
        app: Superset's application.
        public: the Chinese slug of the dashboard that visitors begin at; the English one is made of it.
        internal: the same for people with an account who may not build charts.
    """

    @app.before_request
    def keep_closed() -> Response | None:
        if current_user.is_authenticated:
            begins = request.path in ("/", "/superset/welcome/") and security_manager.is_held()
            return redirect(f"/superset/dashboard/{internal}/") if begins else None  # type: ignore[return-value]
        if is_open(request.method, request.path):
            return None
        if request.path == "/":
            return redirect(f"/superset/dashboard/{public}/")  # type: ignore[return-value]
        if request.path.startswith("/api/") or request.method not in ("GET", "HEAD"):
            # 403 and not 401: on 401 the page would leave for the login form.
            return make_response({"message": "请先登录。 Please log in."}, 403)
        return redirect("/login/")  # type: ignore[return-value]

    @app.before_request
    def choose_language() -> None:
        page = _PAGE.match(request.path)
        if page and page[1].removesuffix("-en") in (public, internal):
            session["locale"] = "en" if page[1].endswith("-en") else "zh"

    @app.after_request
    def redact(response: Response) -> Response:
        is_about = _ABOUT_DASHBOARDS.match(request.path) and not request.path.startswith("/api/v1/chart/data")
        if is_about and response.is_json and request.method == "GET" and is_visitor():
            response.set_data(json.dumps(redacted(response.get_json())))
        return response
