"""Files that a department lays down: when each arrives, and how the folder is made to agree with the clock.

Belongs here: the list of deliveries and the copying. What is in a file is the business
of `tax`, `water`, `collapse` and `fire`.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Delivery:
    """One file of a system and the moment from which it lies in the department's folder."""

    system: str
    name: str
    arrival: int


def settle(deliveries: list[Delivery], generated: Path, files: Path, clock: int) -> tuple[int, int]:
    """Lay down every file that has arrived by `clock` (mtime = arrival) and take away every other; returns (laid, taken).

    A file appears whole, by rename, under its own name; a half-written one has a name that begins with a dot.
    """
    laid = taken = 0
    for system in sorted({d.system for d in deliveries}):
        folder = files / system
        folder.mkdir(parents=True, exist_ok=True)
        due = {d.name: d for d in deliveries if d.system == system and d.arrival <= clock}
        for path in folder.iterdir():
            if path.name not in due:
                path.unlink()
                taken += 1
        for delivery in sorted(due.values(), key=lambda d: (d.arrival, d.name)):
            source, target = generated / system / delivery.name, folder / delivery.name
            if target.exists() and target.stat().st_mtime == delivery.arrival and target.stat().st_size == source.stat().st_size:
                continue
            partial = folder / f".{delivery.name}.part"
            shutil.copyfile(source, partial)
            os.utime(partial, (delivery.arrival, delivery.arrival))
            os.replace(partial, target)
            laid += 1
    return laid, taken
