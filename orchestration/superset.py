"""What Superset must be told after a release: that its cached figures are old. Provisioning belongs in ``dashboards/``."""

from __future__ import annotations

from pathlib import Path

from sources.settings import data_dir


def clear_cache(folder: Path | None = None) -> int:
    """Remove the files of Superset's data cache, never its folder: without the folder, caching stops silently.

    Returns:
        The number of files removed; 0 where Superset was never started.
    """
    removed = 0
    cache = (folder or data_dir()) / "superset" / "cache" / "data"
    for path in sorted(cache.rglob("*")) if cache.exists() else ():
        if path.is_file():
            path.unlink(missing_ok=True)
            removed += 1
    return removed
