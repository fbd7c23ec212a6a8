"""Emptying Superset's caches. Called after a release; standard library only, so both environments can.

Correctness does not rest on it: cached figures are kept under the release they were read from (``release_link``). It frees disk.
"""

from __future__ import annotations

from pathlib import Path

from dashboards.settings import superset_dir


def folder(name: str) -> Path:
    """The folder of one cache: ``data`` (figures), ``meta`` (pages), ``filter`` and ``explore`` (states of a view)."""
    path = superset_dir() / "cache" / name
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def clear(name: str = "data") -> int:
    """Delete the files of one cache, never its folder: a server that runs would stop caching without a word.

    Returns:
        The number of files deleted.
    """
    deleted = 0
    for path in folder(name).iterdir():
        if path.is_file():
            path.unlink(missing_ok=True)
            deleted += 1
    return deleted


if __name__ == "__main__":
    print(f"{clear()} cached figures deleted")
