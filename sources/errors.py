"""The one family of errors that people read. Nothing else belongs here.

Every message says what went wrong, where (system, entity, load, row, file and line) and what to do next.
"""

from __future__ import annotations


class SscError(Exception):
    """An error a person can act on.

    Args:
        what: one sentence.
        where: the place, e.g. ``waterlogging/water_level load 20260930T160000Z-0123456789ab row 17``.
        next_step: what to do now, preferably a command.
    """

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what, self.where, self.next_step = what, where, next_step
        said = f"{where}: {what}" if where else what
        if next_step:
            said += f"{'' if said.endswith(('.', '。', '!', '?')) else '.'} Next: {next_step}"
        super().__init__(said)


class CatalogueError(SscError):
    """A file of the catalogue is wrong."""


class PullError(SscError):
    """A department's system could not be read."""


class LandingError(SscError):
    """A load is damaged or cannot be written."""


class BuildError(SscError):
    """The warehouse could not be built."""


class ReleaseRefused(SscError):
    """The gate refused a candidate; the last good release goes on serving."""
