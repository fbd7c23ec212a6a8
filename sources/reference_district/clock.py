"""The replay clock: a file with one timestamp.

Moving it lays down the files that have arrived by then and takes away the others, and has the police's database show what has
been committed by then. What is in them is no business of this module.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sources.reference_district import exports, generate, police
from sources.reference_district.district import District, DistrictError, home, iso, seconds


@dataclass(frozen=True)
class Step:
    """What a move did: where the clock stood (None: nowhere), the generated district, files laid down and taken away."""

    before: int | None
    folder: Path
    laid: int
    taken: int


def path() -> Path:
    return home() / "clock"


def files() -> Path:
    """The folder in which each department that delivers files has one of its own."""
    return home() / "files"


def read() -> int | None:
    """Where the clock stands; None before the first move."""
    try:
        text = path().read_text()
    except FileNotFoundError:
        return None
    return seconds(text, str(path()))


def move(district: District, to: int) -> Step:
    """Generate what is missing, deliver, then set the clock.

    Setting it back is allowed, for a fresh start: files that had not arrived by then are taken away again.

    Raises:
        DistrictError: `to` lies beyond what is generated.
    """
    if to > district.end:
        raise DistrictError(
            f"{iso(to)} lies beyond {iso(district.end)}, the end of the generated data",
            where="reference district clock",
            next_step=f"move to {iso(district.end)} at most, or set a later AS_OF",
        )
    with generate.lock(home()):
        folder = generate.ensure(district)
        # The clock goes first when it goes back, and last when it goes on: nobody sees a file from the clock's future.
        before = read()
        if before is not None and before > to:
            _write(to)
        laid, taken = exports.settle(generate.deliveries(folder), folder, files(), to)
        police.replay(folder / police.SYSTEM, to)
        _write(to)
    return Step(before, folder, laid, taken)


def _write(to: int) -> None:
    partial = path().with_name(".clock.part")
    partial.write_text(iso(to) + "\n")
    os.replace(partial, path())
