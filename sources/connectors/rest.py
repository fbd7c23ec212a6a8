"""Systems that answer over HTTP with JSON: tokens, pages or cursors, rate limits, and servers that fail now and then.

The catalogue names the path (``physicalName``), the pagination of each entity and, per server, the names of parameters and fields;
``items_field: $`` says that the answer itself is the list, as in Open311. Pagination ``whole`` is a list without window and pages,
which lands when it differs from the last one that landed: the cursor is its hash.
Retrying belongs here; what a value means does not: scalars land as the text that was sent, nested values as JSON text.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import polars as pl
import tenacity

from sources.catalogue import Entity
from sources.connectors.text import parse, text_frame
from sources.errors import PullError
from sources.landing import LoadWriter, Manifest
from sources.protect import identifier_key, protect_frame

PAGE_SIZE = 2000
TIMEOUT_SECONDS = 10.0
ATTEMPTS = 7
REREADS = 5


class _Changed(Exception):
    """The list changed while its pages were read, or what was sent is not what its total says."""


def read(entity: Entity, writer: LoadWriter, cursor: Any, is_backfill: bool) -> Manifest:
    """Read the writer's window and commit it as a load.

    Raises:
        PullError: the server refuses, stays down after all retries, or its pages never hold still.
    """
    url = str(entity.setting("url")).rstrip("/") + entity.source
    token = entity.setting("token", required=False)
    with httpx.Client(
        timeout=TIMEOUT_SECONDS, headers={"Authorization": f"Bearer {token}"} if token else {}, follow_redirects=False, trust_env=False
    ) as client:
        key = identifier_key() if entity.identifiers else b""
        reason = ""
        for _ in range(REREADS):
            frames: list[pl.DataFrame] = []

            def take(rows: list[dict[str, Any]], frames: list[pl.DataFrame] = frames) -> None:
                frames.append(protect_frame(entity, text_frame(rows), key))

            try:
                _pages(entity, client, url, writer, take)
            except _Changed as changed:
                reason = str(changed)
                continue
            frames = [frame for frame in frames if frame.height]
            after = _content(frames) if entity.options["pagination"] == "whole" else writer.until.isoformat()
            is_known = after == cursor and not is_backfill and entity.options["pagination"] == "whole"
            return writer.commit_frames([] if is_known else frames, None if is_backfill else after)
    raise PullError(
        f"the pages changed during each of {REREADS} readings ({reason})",
        where=f"{entity.system}/{entity.name}",
        next_step="pull at a quieter hour, or ask the department for a cursor and whether its total is right",
    )


def _content(frames: list[pl.DataFrame]) -> str:
    """Hexadecimal sha256 of a list's records, in whatever order they came."""
    lines = sorted(line for frame in frames for line in frame.write_ndjson().splitlines())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _pages(entity: Entity, client: httpx.Client, url: str, writer: LoadWriter, take: Callable[[list[dict[str, Any]]], None]) -> None:
    """Hand every page of the window to ``take``; raises _Changed where the window's total moves while it is read."""
    options, pagination = entity.server.options, entity.options["pagination"]
    query: dict[str, Any] = {}
    if pagination != "whole":
        query[options.get("until_parameter", "until")] = writer.until.isoformat()
        query[options.get("page_size_parameter", "limit")] = options.get("page_size", PAGE_SIZE)
        if writer.since:
            query[options.get("since_parameter", "since")] = writer.since.isoformat()
    cursor_field, pages_field = (options.get(f"{name}_field", default) for name, default in (("cursor", "nextCursor"), ("pages", "pages")))
    total: int | None = None
    seen, page = 0, 1
    if pagination == "page":
        query["page"] = page
    while True:
        answer = _get(entity, client, url, query)
        body: dict[str, Any] = answer.body if isinstance(answer.body, dict) else {}
        rows = _records(entity, url, answer)
        stated = _total(entity, url, answer)
        if stated is not None:
            if total is not None and stated != total:
                raise _Changed(f"the total went from {total} to {stated}")
            total = stated
        seen += len(rows)
        take(rows)
        if pagination == "whole":
            break
        if pagination == "page":
            pages = body.get(pages_field)
            # without a number of pages: until the total is reached, and without a total until one is empty
            if not rows or (page >= int(pages) if pages is not None else total is not None and seen >= total):
                break
            page += 1
            query["page"] = page
        else:
            if cursor_field not in body and total is None:
                raise PullError(
                    f"the answer has neither {cursor_field!r} nor {options.get('total_field', 'total')!r}, so nothing tells whether it is "
                    "whole",
                    where=f"{entity.system}/{entity.name} {url}",
                    next_step=f"name the fields as cursor_field and total_field in sources/catalog/{entity.system}.yml",
                )
            if not body.get(cursor_field):
                break
            query["cursor"] = body[cursor_field]
    if total is not None and seen != total:
        raise _Changed(f"{seen} records were sent, the total says {total}")


@dataclass(frozen=True)
class _Answer:
    body: Any
    headers: httpx.Headers


def _records(entity: Entity, url: str, answer: _Answer) -> list[dict[str, Any]]:
    """The list of records in an answer.

    Raises:
        PullError: there is none, or what stands there are no records of the entity, for instance an error sent as 200.
    """
    field = entity.server.options.get("items_field", "data")
    rows = answer.body if field == "$" else answer.body.get(field) if isinstance(answer.body, dict) else None
    where, next_step = f"{entity.system}/{entity.name} {url}", f"compare the interface with sources/catalog/{entity.system}.yml"
    if not isinstance(rows, list) or any(not isinstance(row, dict) for row in rows):
        what = "the answer is no list of records" if field == "$" else f"the answer has no list of records under {field!r}"
        raise PullError(what, where=where, next_step=next_step)
    keys = {name for column in entity.primary_key for name in (column.source_name, *column.synonyms)}
    if rows and not any(keys & row.keys() for row in rows):
        raise PullError(
            f"no record has a field {' or '.join(sorted(keys))}; there are {', '.join(sorted(rows[0])) or 'none'}",
            where=where,
            next_step=next_step,
        )
    return rows


def _total(entity: Entity, url: str, answer: _Answer) -> int | None:
    """How many records the window holds, where the server says so in the header or field that the catalogue names."""
    header = entity.server.options.get("total_header")
    field = entity.server.options.get("total_field", "total")
    stated = answer.headers.get(header) if header else answer.body.get(field) if isinstance(answer.body, dict) else None
    if stated is None:
        return None
    if not str(stated).isdigit():
        raise PullError(
            f"the total under {header or field!r} is no number: {str(stated)[:50]!r}",
            where=f"{entity.system}/{entity.name} {url}",
            next_step=f"compare the interface with sources/catalog/{entity.system}.yml",
        )
    return int(stated)


def _get(entity: Entity, client: httpx.Client, url: str, query: dict[str, Any]) -> _Answer:
    where = f"{entity.system}/{entity.name} {url}"

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, httpx.HTTPStatusError) and error.response.headers.get("Retry-After", "").isdigit():
            return min(float(error.response.headers["Retry-After"]), 120.0)
        return min(0.2 * 2**state.attempt_number, 20.0) * (0.5 + random.random() / 2)

    def again(error: BaseException) -> bool:
        if isinstance(error, httpx.HTTPStatusError):
            return error.response.status_code in (408, 425, 429) or error.response.status_code >= 500
        return isinstance(error, (httpx.TransportError, json.JSONDecodeError))

    try:
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS), wait=wait, retry=tenacity.retry_if_exception(again), reraise=True
        ):
            with attempt:
                response = client.get(url, params=query)
                response.raise_for_status()
                body = parse(response.text)
                break
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        mend = (
            f"renew {entity.variable('token')}"
            if status in (401, 403)
            else "ask the department whether the system is down, then pull again; nothing was lost"
        )
        said = _said(error.response)
        raise PullError(
            f"the server answered {status} after {ATTEMPTS if again(error) else 1} attempt(s){said}", where=where, next_step=mend
        ) from None
    except (httpx.TransportError, json.JSONDecodeError) as error:
        raise PullError(
            f"no whole answer after {ATTEMPTS} attempts ({type(error).__name__}: {error})",
            where=where,
            next_step=f"check {entity.variable('url')} and the network, then pull again; nothing was lost",
        ) from None
    return _Answer(body, response.headers)


def _said(response: httpx.Response) -> str:
    """What an Open311 server gives as the reason of a refusal: a list of codes and descriptions. Nothing else of a body is repeated."""
    try:
        reasons = [str(one["description"]) for one in response.json()]
    except (ValueError, TypeError, KeyError):
        return ""
    return f": {'; '.join(reasons)[:200]}" if reasons else ""
