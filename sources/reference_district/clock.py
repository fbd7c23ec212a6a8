"""The replay clock: a file with one timestamp.

Moving it lays down the files that have arrived by then, and takes away the others. What is in them is no business of this
module.
"""

from __future__ import annotations

import os
from pathlib import Path

from sources.reference_district import exports, generate
from sources.reference_district.district import District, DistrictError, home, iso, seconds


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


def move(district: District, to: int) -> tuple[int, int]:
    """Generate what is missing, deliver, then set the clock; returns (files laid down, files taken away).

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
        if (read() or to) > to:
            _write(to)
        counts = exports.settle(generate.deliveries(folder), folder, files(), to)
        _write(to)
    return counts


def _write(to: int) -> None:
    partial = path().with_name(".clock.part")
    partial.write_text(iso(to) + "\n")
    os.replace(partial, path())
