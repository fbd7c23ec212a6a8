"""Keyed hashing of identifiers, the same in Python and in DuckDB: HMAC-SHA256 (RFC 2104) with the district's own key.

Used by the connectors before a byte is written. A keyed hash is still personal information: it serves matching inside the build and
never enters a release. Which columns are identifiers is the catalogue's to say.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from sources.catalogue import Entity
from sources.errors import PullError
from sources.settings import secret, written_once


def identifier_key() -> bytes:
    """``SSC_IDENTIFIER_KEY``, else the secret generated at first use. Losing it breaks the matching of old with new records."""
    return (os.environ.get("SSC_IDENTIFIER_KEY") or secret("identifier_key")).encode()


def check_key(landing: Path, key: bytes) -> None:
    """Raises PullError where the loads of a landing folder were hashed with another key: then nobody would match any more.

    The mark beside the loads is a keyed hash of a constant and tells nothing of the key.
    """
    mark, path = keyed_hash("identifier key", key) or "", landing / "_identifier_key"
    if written_once(path, mark) != mark:
        raise PullError(
            "the identifier key is not the one that earlier loads were hashed with",
            where=str(path),
            next_step="set SSC_IDENTIFIER_KEY, or restore secrets/identifier_key, as it was; to change it, start an empty landing",
        )


def keyed_hash(value: str | None, key: bytes) -> str | None:
    """HMAC-SHA256 of the trimmed, upper-cased value as 64 hex digits; empty stays empty, None stays None."""
    return keyed_hashes([value], key)[0]


def keyed_hashes(values: Iterable[str | None], key: bytes) -> list[str | None]:
    """:func:`keyed_hash` of each value. The hashes of the padded key are begun once: several times as fast as ``hmac`` for each."""
    inner_pad, outer_pad = _padded(key)
    begun_inner, begun_outer = hashlib.sha256(inner_pad), hashlib.sha256(outer_pad)
    hashes: list[str | None] = []
    for value in values:
        if value is None or not (trimmed := value.strip(" ")):
            hashes.append(value)
            continue
        inner, outer = begun_inner.copy(), begun_outer.copy()
        inner.update(trimmed.upper().encode())
        outer.update(inner.digest())
        hashes.append(outer.hexdigest())
    return hashes


def _padded(key: bytes) -> tuple[bytes, bytes]:
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    return bytes(b ^ 0x36 for b in block), bytes(b ^ 0x5C for b in block)


def keyed_hash_sql(expression: str, key: bytes) -> str:
    """The same as :func:`keyed_hash` as a DuckDB expression, so that no clear value leaves the engine."""
    inner, outer = (padded.hex() for padded in _padded(key))
    value = f"trim({expression})"
    return (
        f"case when {value} = '' then {expression} else "
        f"sha256(from_hex('{outer}') || from_hex(sha256(from_hex('{inner}') || encode(upper({value}))))) end"
    )


def is_protected(entity: Entity, source_name: str) -> bool:
    """Whether a source column lands hashed: every identifier, and, where an entity has identifiers, every column that the
    contract does not know (a renamed identifier must not slip through)."""
    if source_name in entity.identifiers:
        return True
    return bool(entity.identifiers) and source_name not in entity.source_names


def protect_frame(entity: Entity, frame: pl.DataFrame, key: bytes) -> pl.DataFrame:
    """Hash the protected columns of a frame of text columns."""
    return frame.with_columns(
        pl.Series(name, keyed_hashes(frame[name], key), dtype=pl.String) for name in frame.columns if is_protected(entity, name)
    )
