"""``python -m orchestration``: pulls, the warehouse and releases as commands. Exit code 1 comes with one clear paragraph.

python -m orchestration pull [SYSTEM ...]         pull what is new, of all systems by default
python -m orchestration backfill SYSTEM DAY       pull one day of a system again (YYYY-MM-DD, Asia/Shanghai)
python -m orchestration warehouse                 build, judge and release what has landed
python -m orchestration update [SYSTEM ...]       pull, then warehouse, whatever became of single pulls
python -m orchestration quarantine SYSTEM         what waits in quarantine, rule by rule, and where
python -m orchestration release ...               see `python -m orchestration.release --help`
"""

import argparse
import sys
import time
from collections.abc import Sequence

from sources.errors import SscError
from sources.settings import data_dir


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["release"]:
        from orchestration.release import main as release_main

        return release_main(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="python -m orchestration", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name in ("pull", "update"):
        commands.add_parser(name).add_argument("systems", nargs="*", metavar="SYSTEM")
    command = commands.add_parser("backfill")
    command.add_argument("system")
    command.add_argument("day")
    commands.add_parser("warehouse")
    commands.add_parser("quarantine").add_argument("system")
    commands.add_parser("release", add_help=False)
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        _run(chosen)
    except SscError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    if chosen.command != "quarantine":
        print(f"{chosen.command}: done in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def _run(chosen: argparse.Namespace) -> None:
    from sources.catalogue import load_catalogue

    known = load_catalogue()
    systems = [chosen.system] if hasattr(chosen, "system") else getattr(chosen, "systems", []) or list(known)
    unknown = sorted(set(systems) - set(known))
    if unknown:
        raise SscError(f"there is no system {', '.join(unknown)}", where="sources/catalog", next_step=f"name some of {', '.join(known)}")
    if chosen.command == "quarantine":
        from orchestration.quarantine import report

        print(report(known[chosen.system]))
        return
    print("loading the definitions", flush=True)
    from orchestration.run import RunFailed, run_job, run_jobs

    if chosen.command == "backfill":
        run_job(f"backfill_{chosen.system}", partition=chosen.day)
        return
    failed: RunFailed | None = None
    if chosen.command in ("pull", "update"):
        try:
            run_jobs([f"pull_{system}" for system in systems])
        except RunFailed as error:
            failed = error
    if chosen.command == "warehouse" or (chosen.command == "update" and _is_due()):
        try:
            run_job("warehouse")
        except RunFailed as error:
            if failed:
                print(f"\n{failed}", file=sys.stderr)
            failed = error
    if failed:
        raise failed


def _is_due() -> bool:
    """Whether a build or a release would change anything: new loads, another project, or a build that was not released."""
    from orchestration.build import build_lock, is_released, prepare

    with build_lock(data_dir()):
        due = prepare(data_dir()).is_needed or not is_released(data_dir())
    if not due:
        print("nothing new since the last release", flush=True)
    return due


if __name__ == "__main__":
    sys.exit(main())
