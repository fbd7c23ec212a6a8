"""Where things lie and what time it is: the only module that reads the environment for paths, secrets and the clock.

Settings of a single system (``SSC_<SYSTEM>_URL``, ``_TOKEN``) are read here too, so that error messages are the same everywhere.
"""

from __future__ import annotations

import contextlib
import os
import secrets as _secrets
from datetime import UTC, datetime
from pathlib import Path

from sources.errors import SscError


def root() -> Path:
    """The repository's folder."""
    return Path(__file__).resolve().parents[1]


def data_dir() -> Path:
    """The data folder: ``SSC_DATA``, else ``data/`` in the repository."""
    return Path(os.environ.get("SSC_DATA") or root() / "data").resolve()


def now() -> datetime:
    """The time that pulls go by, in UTC: the replay clock that ``SSC_CLOCK`` names, else the wall clock.

    ``SSC_CLOCK`` is the path of a file with one ISO 8601 timestamp with an offset; a demo or an evaluator replays a past
    period with it.
    """
    path = os.environ.get("SSC_CLOCK")
    if not path:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(Path(path).read_text().strip())
    except (OSError, ValueError) as error:
        raise SscError(
            f"the replay clock cannot be read ({error})",
            where=f"SSC_CLOCK={path}",
            next_step="unset SSC_CLOCK to use the wall clock, or write one ISO 8601 timestamp with an offset into that file",
        ) from error
    if moment.tzinfo is None:
        raise SscError(
            "the replay clock has no time zone offset",
            where=f"SSC_CLOCK={path}",
            next_step="write for example 2026-10-01T00:00:00+08:00",
        )
    return moment.astimezone(UTC)


def is_demo() -> bool:
    """Whether what is pulled now is generated data of a reference district (``SSC_IS_DEMO=1``)."""
    return os.environ.get("SSC_IS_DEMO") == "1"


def variable_of(system: str, name: str) -> str:
    """The environment variable that holds a setting of a system, see :func:`of_system`."""
    return f"SSC_{system}_{name}".upper()


def of_system(system: str, name: str, *, required: bool = True) -> str | None:
    """The setting ``SSC_<SYSTEM>_<NAME>`` of one system; of a further server of it ``SSC_<SYSTEM>_<SERVER>_<NAME>``.

    Raises:
        SscError: it is required and not set.
    """
    variable = variable_of(system, name)
    value = os.environ.get(variable)
    if required and not value:
        raise SscError(f"{variable} is not set", where=system, next_step=f"set {variable} in the environment and pull again")
    return value


def secret(name: str) -> str:
    """The secret kept in ``data/secrets/<name>``; made at first use, readable by the owner alone."""
    return written_once(data_dir() / "secrets" / name, _secrets.token_urlsafe(32))


def written_once(path: Path, text: str) -> str:
    """What stands in a file that is written whole, once, by whoever comes first; readable by the owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        draft = path.with_name(f".{path.name}-{os.getpid()}-{_secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        with contextlib.suppress(FileExistsError):  # another was first: what it wrote stands
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
