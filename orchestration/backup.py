"""Backup and restore of what cannot be made again: landing, messages that no load holds yet, releases, the publication log, secrets,
Superset's metadata, the site.

The build is left out, because it is made anew from landing; the reference district, because it is not ours. Which releases are kept
belongs in ``release.py``, what a load is in ``sources/landing.py``.

A backup is a folder, best on another machine's disk and readable by its owner alone: it holds the keys::

    landing/<system>/<entity>/<load_id>/    immutable, as in the data folder: copied once
    published/<release_id>/                 likewise
    state-<time>/                           what changes: publication.jsonl, systems_down.yml, secrets/, superset/superset.db, site/,
                                            spool/ (segments and the collector's names at the brokers)
    index.json                              written last: which of these belong to the backup, with sizes, hashes, modes and links

Everything is copied to a temporary name, synced and renamed, and what the index no longer names is removed only after the new index
is in place. So a backup that is killed leaves the one before as it was, and the next one goes on from what was copied.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestration.release import list_releases, read_link, release_lock
from sources import spool
from sources.errors import SscError
from sources.landing import MANIFEST, Landing, sync
from sources.settings import data_dir as default_data_dir

INDEX = "index.json"
FORMAT = 1
LINKS = ("current", "public")
SINGLE_FILES = ("publication.jsonl", "systems_down.yml")
FOLDERS = ("secrets", "site")
SUPERSET_DB = "superset/superset.db"
RESTORING = ".restoring"
SAY_EVERY_SECONDS = 5.0
BLOCK = 1 << 20

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Copied:
    """One file of a backup: size in bytes, sha256 in hexadecimal, permission bits."""

    bytes: int
    sha256: str
    mode: int


@dataclass
class Index:
    """What a backup holds. ``files`` are below the backup's folder; ``folders``: data folder's subfolder -> permission bits."""

    state: str = ""
    made_at: str = ""
    links: dict[str, str] = field(default_factory=dict)
    files: dict[str, Copied] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)

    def names(self, kind: str) -> set[str]:
        """Folders of the loads (``landing``) or releases (``published``)."""
        return {os.path.dirname(path) for path in self.files if path.startswith(f"{kind}/")}

    @functools.cached_property
    def of_folder(self) -> dict[str, dict[str, Copied]]:
        """Folder -> its files. Of a finished index only."""
        found: dict[str, dict[str, Copied]] = {}
        for path, copied in self.files.items():
            found.setdefault(os.path.dirname(path), {})[path] = copied
        return found

    def summary(self) -> str:
        size = sum(copied.bytes for copied in self.files.values())
        loads, releases = len(self.names("landing")), len(self.names("published"))
        return f"{loads:,} loads, {releases} releases, {len(self.files):,} files, {size / 1e6:,.1f} MB"


# --------------------------------------------------------------------------------------------------------------- backup


def backup(folder: Path, data_dir: Path | None = None, *, progress: Progress = lambda line: None) -> Index:
    """Bring the backup in ``folder`` up to the data folder; it is made where there is none. May run while everything serves.

    Returns:
        The new index.

    Raises:
        SscError: the folder is no place for a backup; a new load or release is damaged; landing or the publication log lost
            something that the backup still holds. The backup is then what it was before.
    """
    data, folder = Path(data_dir or default_data_dir()).resolve(), folder.resolve()
    if folder == data or data in folder.parents or folder in data.parents:
        raise SscError("a backup cannot lie in the data folder, nor around it", where=str(folder), next_step="name a folder elsewhere")
    if not (data / "landing").is_dir():
        raise SscError("there is nothing to back up", where=str(data), next_step="pull first, or set SSC_DATA to the data folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / INDEX).exists() and [name for name in os.listdir(folder) if not _is_ours(name)]:
        raise SscError("the folder holds something else", where=str(folder), next_step="name an empty folder, or an earlier backup")
    with _only_one(folder):
        before = read_index(folder) if (folder / INDEX).exists() else Index()
        moment = datetime.now(UTC)
        index = Index(state=f"state-{moment:%Y%m%dT%H%M%S.%fZ}", made_at=moment.isoformat(timespec="seconds"))
        _sweep_leftovers(folder, before)
        # Releases and segments before landing: whatever a copied release was made from, and a segment that is gone, has landed by then.
        with release_lock(data / "published"):
            _copy_releases(data, folder, before, index, progress)
            _copy_publication(data, folder, before, index)
        _copy_spool(data, folder, index, progress)
        _copy_landing(data, folder, before, index, progress)
        _copy_state(data, folder, index, progress)
        _write_index(folder, index)
        _sweep_leftovers(folder, index)
        _sweep_unnamed(folder, index)
    progress(f"done: {index.summary()} in {folder}")
    return index


def _is_ours(name: str) -> bool:
    return name in ("landing", "published", ".lock", f".{INDEX}") or name.startswith("state-")


def _copy_releases(data: Path, folder: Path, before: Index, index: Index, progress: Progress) -> None:
    releases, new = list_releases(data), 0
    for release in releases:
        new += _copy_immutable(data, folder, f"published/{release.release_id}", release.files, before, index)
    for link in LINKS:
        named = read_link(data, link)
        if named and f"published/{named}" in index.names("published"):
            index.links[link] = named
    progress(f"releases: {new} new of {len(releases)}")


def _copy_spool(data: Path, folder: Path, index: Index, progress: Progress) -> None:
    """Messages that were acknowledged and have not landed. One that lands meanwhile is in both, and its load's cursor says so."""
    segments = {path.with_suffix(""): path for suffix in (spool.OPEN, spool.SUFFIX) for path in (data / "spool").rglob(f"*{suffix}")}
    count = 0
    for path in sorted((data / "spool").rglob(spool.CLIENT_ID)):
        _copy_one(data, folder, path.relative_to(data).as_posix(), index)
    for path in sorted(segments.values()):
        for name in (path, path.with_suffix(spool.SUFFIX)):  # closed meanwhile; landed meanwhile, if it is neither
            with contextlib.suppress(FileNotFoundError):
                _copy_one(data, folder, name.relative_to(data).as_posix(), index)
                count += 1
                break
    progress(f"messages: {count} segments that no load holds yet")


def _copy_landing(data: Path, folder: Path, before: Index, index: Index, progress: Progress) -> None:
    landing = Landing(data / "landing")
    loads = [path.relative_to(data).as_posix() for path in sorted((data / "landing").glob("*/*/*")) if not path.name.startswith(".")]
    new, replaced, damaged, said = 0, set(), [], time.monotonic()
    for number, load in enumerate(loads, start=1):
        _, system, entity, load_id = load.split("/")
        if _is_whole(folder, before, load):
            _take_over(data, before, index, load)
            continue
        try:
            manifest = landing.manifest(system, entity, load_id)
            if manifest is None:  # without a manifest it does not exist
                continue
            replaced |= {f"landing/{system}/{entity}/{gone}" for gone in manifest.replaces}
            _copy_immutable(data, folder, load, manifest.sha256, before, index)
            new += 1
        except FileNotFoundError:  # compacted away meanwhile; what replaces it is found by the next backup
            if (data / load / MANIFEST).exists():
                damaged.append(f"{load}: a part is missing")
        except SscError as error:
            damaged.append(f"{error.where}: {error.what}")
        if time.monotonic() - said > SAY_EVERY_SECONDS:
            said = time.monotonic()
            progress(f"landing: {number:,} of {len(loads):,} loads looked at, {new:,} copied")
    if damaged:
        raise SscError(
            f"{len(damaged)} new loads are damaged: {'; '.join(damaged[:5])}",
            where=str(data / "landing"),
            next_step="remove these folders and pull their windows again, then repeat; the backup is as it was",
        )
    lost = sorted(before.names("landing") - index.names("landing") - replaced)
    if lost:  # perhaps replaced by a load that the backup had taken before those went
        for load in index.names("landing"):
            if (manifest := landing.manifest(*load.split("/")[1:])) is not None:
                replaced |= {f"{os.path.dirname(load)}/{gone}" for gone in manifest.replaces}
        lost = sorted(set(lost) - replaced)
    if lost:
        raise SscError(
            f"{len(lost)} loads that the backup holds are gone from landing, e.g. {lost[0]}",
            where=str(data / "landing"),
            next_step="restore the data folder from this backup, or start a new one in an empty folder; this one is as it was",
        )
    progress(f"landing: {new:,} new of {len(index.names('landing')):,} loads")


def _copy_publication(data: Path, folder: Path, before: Index, index: Index) -> None:
    """The log is append-only: one that does not begin as the backup's does was damaged."""
    for name in SINGLE_FILES:
        if (data / name).exists():
            _copy_one(data, folder, name, index)
    old = folder / before.state / "publication.jsonl"
    if not before.state or not old.exists():
        return
    new = folder / index.state / "publication.jsonl"
    whole = old.read_bytes()
    whole = whole[: whole.rfind(b"\n") + 1]
    if not new.exists() or not new.read_bytes().startswith(whole):
        raise SscError(
            "the publication log has lost lines that the backup holds",
            where=str(data / "publication.jsonl"),
            next_step=f"compare it with {old} and bring the lines back; the backup is as it was",
        )


def _copy_state(data: Path, folder: Path, index: Index, progress: Progress) -> None:
    count = 0
    for name in FOLDERS:
        for path in sorted((data / name).rglob("*")):
            if path.is_file() and not path.is_symlink() and not (name == "secrets" and path.name.startswith(".")):
                with contextlib.suppress(FileNotFoundError):  # the site is being written
                    _copy_one(data, folder, path.relative_to(data).as_posix(), index)
                    count += 1
    if (data / SUPERSET_DB).exists():
        _copy_database(data, folder, index)
        count += 1
    progress(f"secrets, site and Superset's metadata: {count} files")


def _copy_one(data: Path, folder: Path, name: str, index: Index) -> None:
    target = folder / index.state / name
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    index.files[f"{index.state}/{name}"] = _copy_hashed(data / name, target)
    _note_folders(data, name, index)


def _copy_database(data: Path, folder: Path, index: Index) -> None:
    """SQLite's own backup: one consistent state, while Superset goes on writing."""
    source, target = data / SUPERSET_DB, folder / index.state / SUPERSET_DB
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(descriptor)
    try:
        with (
            contextlib.closing(sqlite3.connect(source, timeout=60)) as live,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
            copy.execute("pragma journal_mode = delete")
            [(verdict,)] = copy.execute("pragma quick_check(1)").fetchall()
    except sqlite3.Error as error:
        verdict = str(error)
    if verdict != "ok":
        raise SscError(
            f"Superset's metadata cannot be copied ({verdict})",
            where=str(source),
            next_step="restore it from the backup before, or remove it and provision Superset again; the backup is as it was",
        )
    target.chmod(source.stat().st_mode & 0o777)
    sync(target)
    index.files[f"{index.state}/{SUPERSET_DB}"] = _hashed(target)
    _note_folders(data, SUPERSET_DB, index)


def _copy_immutable(data: Path, folder: Path, name: str, expected: dict[str, str], before: Index, index: Index) -> bool:
    """Copy a load or a release whole, unless the backup has it. ``expected``: file -> sha256 as its description says.

    Returns:
        Whether it was copied.

    Raises:
        SscError: a file's hash is not the one of the description.
    """
    if _is_whole(folder, before, name):
        _take_over(data, before, index, name)
        return False
    source, target = data / name, folder / name
    if (adopted := _adopt(source, target)) and all(adopted.get(file) and adopted[file].sha256 == expected[file] for file in expected):
        index.files |= {f"{name}/{file}": what for file, what in adopted.items()}
        _note_folders(data, f"{name}/_", index)
        return False
    draft = target.with_name(f".copying-{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    copied = {path.name: _copy_hashed(path, draft / path.name) for path in sorted(source.iterdir()) if path.is_file()}
    wrong = [file for file, sha256 in expected.items() if file not in copied or copied[file].sha256 != sha256]
    if wrong:
        shutil.rmtree(draft)
        raise SscError(f"{', '.join(sorted(wrong))} is not what was written at first", where=name, next_step="restore it from a backup")
    sync(draft)
    if target.exists():  # damaged since it was copied
        shutil.rmtree(target)
    draft.rename(target)
    sync(target.parent)
    index.files |= {f"{name}/{file}": what for file, what in copied.items()}
    _note_folders(data, f"{name}/_", index)
    return True


def _adopt(source: Path, target: Path) -> dict[str, Copied]:
    """What a backup that was killed before its index had copied already; empty where it is not the same files."""
    if not target.is_dir() or sorted(os.listdir(source)) != sorted(os.listdir(target)):
        return {}
    return {path.name: _hashed(path) for path in sorted(target.iterdir())}


def _is_whole(folder: Path, index: Index, name: str) -> bool:
    """Whether the backup holds a load or release in full, by names and sizes; hashes are verified by a restore."""
    files = index.of_folder.get(name, {})
    try:
        return bool(files) and all((folder / path).stat().st_size == copied.bytes for path, copied in files.items())
    except FileNotFoundError:
        return False


def _take_over(data: Path, before: Index, index: Index, name: str) -> None:
    index.files |= before.of_folder[name]
    _note_folders(data, f"{name}/_", index)


def _note_folders(data: Path, name: str, index: Index) -> None:
    for parent in Path(name).parents:
        if parent != Path("."):
            index.folders.setdefault(parent.as_posix(), stat.S_IMODE((data / parent).stat().st_mode))


# --------------------------------------------------------------------------------------------------------------- restore


def restore(folder: Path, data_dir: Path | None = None, *, progress: Progress = lambda line: None) -> Index:
    """Restore a backup into an empty data folder. Every file is verified before the first one gets its place.

    Raises:
        SscError: the data folder is not empty, or the backup is not whole; nothing was restored then.
    """
    data, folder = Path(data_dir or default_data_dir()), folder.resolve()
    index = read_index(folder)
    there = sorted(os.listdir(data)) if data.exists() else []
    if [name for name in there if name != RESTORING]:
        raise SscError(
            f"the data folder is not empty: it holds {', '.join(there[:6])}",
            where=str(data),
            next_step="move it out of the way, or set SSC_DATA to an empty folder, then restore again",
        )
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = data / RESTORING
    shutil.rmtree(draft, ignore_errors=True)  # of a restore that was killed
    draft.mkdir(mode=0o700)
    damaged, done, said = [], 0, time.monotonic()
    progress(f"restoring the backup of {index.made_at}: {index.summary()}")
    try:
        for path, expected in index.files.items():
            target = draft / path.removeprefix(f"{index.state}/")
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                found = _copy_hashed(folder / path, target, mode=expected.mode)
            except FileNotFoundError:
                damaged.append(f"{path} is missing")
                continue
            if (found.bytes, found.sha256) != (expected.bytes, expected.sha256):
                damaged.append(f"{path} has changed")
            done += found.bytes
            if time.monotonic() - said > SAY_EVERY_SECONDS:
                said = time.monotonic()
                progress(f"{done / 1e6:,.0f} MB verified")
        if damaged:
            raise SscError(
                f"the backup is damaged, nothing was restored: {'; '.join(damaged[:5])}"
                + (f"; and {len(damaged) - 5} more" if len(damaged) > 5 else ""),
                where=str(folder),
                next_step="restore from another backup, or bring these files back into this one",
            )
        for name, mode in sorted(index.folders.items(), reverse=True):
            (draft / name).chmod(mode)
        (draft / "published").mkdir(exist_ok=True)
        for link, named in index.links.items():
            os.symlink(named, draft / "published" / link)
        for name in sorted(os.listdir(draft)):
            os.rename(draft / name, data / name)
        sync(data)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    progress(f"restored {index.summary()} to {data}")
    progress("now run `make warehouse`: it builds from landing and ends in the release that serves")
    return index


# --------------------------------------------------------------------------------------------------------------- index


def read_index(folder: Path) -> Index:
    """The index of the backup in ``folder``.

    Raises:
        SscError: there is none, or it is damaged.
    """
    try:
        fields = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        body = fields["body"]
        if fields["format"] != FORMAT or fields["sha256"] != _hash_of(body):
            raise ValueError("its hash or format is another")
        files = {path: Copied(*values) for path, values in body["files"].items()}
        return Index(body["state"], body["made_at"], body["links"], files, body["folders"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SscError("there is no whole backup", where=str(folder / INDEX), next_step="name the folder of a backup that ended") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SscError(
            f"the backup's index is damaged ({error})",
            where=str(folder / INDEX),
            next_step="use another backup, or start one in an empty folder",
        ) from error


def _write_index(folder: Path, index: Index) -> None:
    body = {
        "state": index.state,
        "made_at": index.made_at,
        "counts": {"loads": len(index.names("landing")), "releases": len(index.names("published")), "files": len(index.files)},
        "links": index.links,
        "folders": dict(sorted(index.folders.items())),
        "files": {path: [copied.bytes, copied.sha256, copied.mode] for path, copied in sorted(index.files.items())},
    }
    draft = folder / f".{INDEX}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, "sha256": _hash_of(body), "body": body}, file, ensure_ascii=False, indent=0)
        file.flush()
        os.fsync(file.fileno())
    if (folder / index.state).exists():
        for path in (folder / index.state).rglob("*"):
            if path.is_dir():
                sync(path)
    os.replace(draft, folder / INDEX)
    sync(folder)


def _hash_of(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def _sweep_leftovers(folder: Path, index: Index) -> None:
    """Remove what killed backups left half-copied, and every state but the index's."""
    for path in [*folder.glob("landing/*/*/.copying-*"), *folder.glob("published/.copying-*"), *folder.glob("state-*")]:
        if path.name != index.state:
            shutil.rmtree(path)


def _sweep_unnamed(folder: Path, index: Index) -> None:
    """Remove loads and releases that the index does not name: they were replaced, or are kept no longer."""
    kept = index.names("landing") | index.names("published")
    for path in [*folder.glob("landing/*/*/*"), *folder.glob("published/*")]:
        if path.relative_to(folder).as_posix() not in kept:
            shutil.rmtree(path)


# --------------------------------------------------------------------------------------------------------------- files


def _copy_hashed(source: Path, target: Path, *, mode: int | None = None) -> Copied:
    """Copy a file and sync it, hashing what was read; the permission bits go along."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reading:
        mode = stat.S_IMODE(os.fstat(reading.fileno()).st_mode) if mode is None else mode
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writing:
            while block := reading.read(BLOCK):
                digest.update(block)
                size += len(block)
                writing.write(block)
            writing.flush()
            os.fchmod(writing.fileno(), mode)
            os.fsync(writing.fileno())
    return Copied(size, digest.hexdigest(), mode)


def _hashed(path: Path) -> Copied:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Copied(path.stat().st_size, digest, stat.S_IMODE(path.stat().st_mode))


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    with open(os.open(folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SscError("another backup to this folder is under way", where=str(folder), next_step="wait until it has ended") from None
        yield


# --------------------------------------------------------------------------------------------------------------- command


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m orchestration.backup backup|restore <folder>``. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.backup", description="backup and restore of the data folder")
    parser.add_argument("command", choices=("backup", "restore"))
    parser.add_argument("folder", help="the backup's folder")
    chosen = parser.parse_args(arguments)
    try:
        if not chosen.folder.strip():
            example = "make backup TO=/mnt/backup" if chosen.command == "backup" else "make restore FROM=/mnt/backup"
            raise SscError("no folder was named", next_step=f"for example `{example}`")
        act = backup if chosen.command == "backup" else restore
        act(Path(chosen.folder), progress=lambda line: print(f"{chosen.command}: {line}", flush=True))
    except SscError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        what = "the disk is full" if error.errno == errno.ENOSPC else f"it cannot be written or read ({error.strerror})"
        next_step = "free some space and repeat" if error.errno == errno.ENOSPC else "mend it and repeat"
        print(SscError(what, where=str(error.filename or chosen.folder), next_step=next_step), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
