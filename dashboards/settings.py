"""Paths, settings and secrets of the Superset side.

Standard library only: it is imported in both environments. Nothing here imports Superset.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

PUBLIC_LINK = "public/open_data.duckdb"
INTERNAL_LINK = "current/marts.duckdb"


def data_dir() -> Path:
    """The data folder: ``SSC_DATA``, else ``data/`` in the repository."""
    return Path(os.environ.get("SSC_DATA") or Path(__file__).resolve().parents[1] / "data").resolve()


def published_dir() -> Path:
    """Where the releases and the links ``current`` and ``public`` lie."""
    return data_dir() / "published"


def superset_dir() -> Path:
    """Superset's own files: metadata, caches, counters. Owner only."""
    path = data_dir() / "superset"
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def site_dir() -> Path:
    """The static site."""
    return data_dir() / "site"


def host() -> str:
    """The address to listen on: loopback unless ``SSC_SUPERSET_HOST`` says otherwise."""
    return os.environ.get("SSC_SUPERSET_HOST", "127.0.0.1")


def port() -> int:
    """The port to listen on (``SSC_SUPERSET_PORT``, default 8088)."""
    return int(os.environ.get("SSC_SUPERSET_PORT", "8088"))


def secret(name: str) -> str:
    """The secret in ``data/secrets/<name>``: made once, readable by the owner alone, never seen half-written.

    Several processes may ask at the same moment: each writes a file of its own and links it into place, and the first wins.
    """
    folder = data_dir() / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / name
    if not path.exists():
        draft = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
