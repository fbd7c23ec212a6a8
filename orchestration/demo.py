"""``make demo``: plays a district through two months and serves the result. ``make demo-day``: moves it one day on.

The reference district is another process, spoken to by its command line and its servers alone, as departments would be.
"""

from __future__ import annotations

import argparse
import os
import select
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

from orchestration import serve
from sources.errors import SscError
from sources.settings import data_dir, now, root

AS_OF = "2026-11-01T00:00+08:00"
LIVE_SECONDS = "10"  # with LIVE=1: short, because a step is part of the way from a message to its release
APPROVER = "演示审批人 demo approver"
DISTRICT = [sys.executable, "-m", "sources.reference_district"]


def month_before(moment: datetime) -> datetime:
    """The same wall time one month earlier, on the first day of the month."""
    return (moment.replace(day=1) - timedelta(days=1)).replace(day=1)


def start_district(group: serve.Children, *, live: bool = False) -> None:
    """Start the reference district's servers, take over the settings that point to them, and collect its messages.

    live: its clock runs by itself, by a step of so many seconds.
    """
    process = subprocess.Popen(
        [*DISTRICT, "serve"],
        cwd=root(),
        env={"SSC_DISTRICT_LIVE_SECONDS": LIVE_SECONDS, **os.environ, "LIVE": "1" if live else "0"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    group.running["reference district"] = process
    assert process.stdout
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 1.0)[0]:
            line = process.stdout.readline()
            if not line:
                break
            print(line.rstrip(), flush=True)
            if "http://" in line:
                for setting in (data_dir() / "reference_district" / "district.env").read_text().splitlines():
                    name, _, value = setting.partition("=")
                    os.environ[name] = value
                serve.start_collector(group)
                return
    raise SscError("the reference district did not start", next_step="run `python -m sources.reference_district serve` to see why")


def move_clock(to: datetime) -> None:
    """Set the district's clock forward; it never goes back here."""
    path = os.environ.get("SSC_CLOCK")
    if path and Path(path).exists() and now() >= to:
        return
    done = subprocess.run([*DISTRICT, "move", "--to", to.isoformat()], cwd=root(), env=os.environ.copy())
    if done.returncode:
        raise SscError("the reference district's clock could not be moved", next_step="read the lines above")


def update() -> None:
    """Pull every system, build what is new, release it, and sign the release as the demo approver."""
    from orchestration.__main__ import main as orchestrate
    from orchestration.release import approve, public_release, read_approvals, read_link

    if orchestrate(["update"]):
        raise SscError("the main job failed", next_step="read the paragraph above; what was released before goes on serving")
    current = read_link(data_dir(), "current")
    if current and public_release(read_approvals(data_dir())) != current:
        approve(current, signed_by=APPROVER, is_demo=True)
        print(f"approved {current} as {APPROVER}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m orchestration.demo", description=__doc__)
    parser.add_argument("--no-serve", action="store_true", help="exit when everything is made")
    parser.add_argument("--day", action="store_true", help="only move the clock one day on, pull, build and release")
    chosen = parser.parse_args()
    started = time.monotonic()
    try:
        as_of = datetime.fromisoformat(os.environ.get("AS_OF") or AS_OF)
        serve.check_disk(data_dir())
        if not chosen.no_serve and not chosen.day:
            serve.check_ports()
        with serve.children() as group:
            start_district(group)
            targets = [now().astimezone(as_of.tzinfo) + timedelta(days=1)] if chosen.day else [month_before(as_of), as_of]
            for number, target in enumerate(targets, start=1):
                print(f"\n== {number} of {len(targets)}: up to {target:%Y-%m-%d %H:%M} ({time.monotonic() - started:.0f} s)", flush=True)
                move_clock(target)
                if number < len(targets) and _is_beyond(target):
                    print("already released", flush=True)
                    continue
                update()
            if chosen.day:
                return 0
            print(f"\n== Superset ({time.monotonic() - started:.0f} s)", flush=True)
            serve.provision()
            print(f"\n== done in {time.monotonic() - started:.0f} s", flush=True)
            if chosen.no_serve:
                return 0
            is_live = os.environ.get("LIVE") == "1"
            if is_live:  # from here on the clock runs by itself; while it did, nobody could have moved it
                group.end("collector")
                group.end("reference district")
                start_district(group, live=True)
            serve.start_servers(group, schedules=is_live)
            print(serve.addresses(), flush=True)
            name = group.wait()
            raise SscError(f"{name} ended", where=str(data_dir() / "logs"), next_step="read its log there")
    except SscError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
        return 130 if chosen.no_serve else 0


def _is_beyond(target: datetime) -> bool:
    """Whether a release serves that has reached the target already."""
    from orchestration.release import read_link, read_release

    current = read_link(data_dir(), "current")
    return bool(current) and read_release(data_dir() / "published" / str(current)).as_of >= target


if __name__ == "__main__":
    sys.exit(main())
