"""From the links ``current`` and ``public`` to the release behind them, once per request.

DuckDB keys its instance by path, so a connection must name the release's own file and not the link. And a request that asked
twice could meet two releases: the key under which a figure is cached would then name another release than the figure came from.
So the first answer of a request holds until the request ends, for the connection and for the cache key alike.
"""

from __future__ import annotations

from pathlib import Path

from flask import g, has_app_context

from dashboards.settings import published_dir


class NothingPublished(RuntimeError):
    """The link does not lead to a release (yet)."""


def resolve(relative: str) -> Path:
    """The file behind ``data/published/<relative>``, e.g. ``public/open_data.duckdb``; the same one throughout a request.

    Raises:
        NothingPublished: there is no such release.
    """
    pinned: dict[str, Path] = g.setdefault("ssc_release_files", {}) if has_app_context() else {}
    if relative not in pinned:
        try:
            pinned[relative] = (published_dir() / relative).resolve(strict=True)
        except OSError as error:
            raise NothingPublished("目前没有已发布的数据。 Nothing has been published yet.") from error
    return pinned[relative]


def release_of(relative: str) -> str:
    """The release behind a link: the name of its folder, or ``none``."""
    try:
        return resolve(relative).parent.name
    except NothingPublished:
        return "none"


def relative_of(uri: str) -> str | None:
    """``public/open_data.duckdb`` from ``duckdb:///public/open_data.duckdb``; None for any other database."""
    prefix = "duckdb:///"
    relative = uri.removeprefix(prefix)
    return relative if uri.startswith(prefix) and relative and not relative.startswith("/") else None
