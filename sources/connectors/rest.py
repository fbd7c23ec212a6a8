"""Systems that answer over HTTP with JSON: tokens, pages or cursors, rate limits, and servers that fail now and then.

The catalogue names the path (``physicalName``), the pagination of each entity and, per server, the names of parameters and fields.
Retrying belongs here; what a value means does not: scalars land as the text that was sent, nested values as JSON text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import httpx
import polars as pl
import tenacity

from sources.catalogue import Entity
from sources.connectors.text import parse, text_frame
from sources.errors import PullError
from sources.landing import LoadWriter, Manifest
from sources.protect import identifier_key, protect_frame
from sources.settings import of_system

PAGE_SIZE = 2000
TIMEOUT_SECONDS = 10.0
ATTEMPTS = 7
REREADS = 5


class _Changed(Exception):
    """The list changed while its pages were read."""


def read(entity: Entity, writer: LoadWriter, cursor: Any, is_backfill: bool) -> Manifest:
    """Read the writer's window and commit it as a load.

    Raises:
        PullError: the server refuses, stays down after all retries, or its pages never hold still.
    """
    url = str(of_system(entity.system, "url")).rstrip("/") + entity.source
    token = of_system(entity.system, "token", required=False)
    with httpx.Client(
        timeout=TIMEOUT_SECONDS, headers={"Authorization": f"Bearer {token}"} if token else {}, follow_redirects=False, trust_env=False
    ) as client:
        key = identifier_key() if entity.identifiers else b""
        for _ in range(REREADS):
            frames: list[pl.DataFrame] = []

            def take(rows: list[dict[str, Any]], frames: list[pl.DataFrame] = frames) -> None:
                frames.append(protect_frame(entity, text_frame(rows), key))

            try:
                _pages(entity, client, url, writer, take)
                return writer.commit_frames([f for f in frames if f.height], None if is_backfill else writer.until.isoformat())
            except _Changed:
                continue
    raise PullError(
        f"the pages changed during each of {REREADS} readings",
        where=f"{entity.system}/{entity.name}",
        next_step="pull at a quieter hour, or ask the department for a cursor",
    )


def _pages(entity: Entity, client: httpx.Client, url: str, writer: LoadWriter, take: Callable[[list[dict[str, Any]]], None]) -> None:
    """Hand every page of the window to ``take``; raises _Changed where the window's total moves while it is read."""
    options = entity.server.options
    query: dict[str, Any] = {
        options.get("until_parameter", "until"): writer.until.isoformat(),
        "limit": options.get("page_size", PAGE_SIZE),
    }
    if writer.since:
        query[options.get("since_parameter", "since")] = writer.since.isoformat()
    cursor_field, pages_field, total_field = (
        options.get(f"{name}_field", default) for name, default in (("cursor", "nextCursor"), ("pages", "pages"), ("total", "total"))
    )
    total: int | None = None
    seen, page = 0, 1
    if entity.options["pagination"] == "page":
        query["page"] = page
    while True:
        body = _get(entity, client, url, query)
        rows = body.get(options.get("items_field", "data"))
        if not isinstance(rows, list) or any(not isinstance(row, dict) for row in rows):
            raise PullError(
                f"the answer has no list of records under {options.get('items_field', 'data')!r}",
                where=f"{entity.system}/{entity.name} {url}",
                next_step=f"compare the interface with sources/catalog/{entity.system}.yml",
            )
        if body.get(total_field) is not None:
            if total is not None and int(body[total_field]) != total:
                raise _Changed
            total = int(body[total_field])
        seen += len(rows)
        take(rows)
        if entity.options["pagination"] == "page":
            pages = body.get(pages_field)
            if not rows or (pages is not None and page >= int(pages)):  # without a number of pages: until one is empty
                break
            page += 1
            query["page"] = page
        else:
            if cursor_field not in body and total is None:
                raise PullError(
                    f"the answer has neither {cursor_field!r} nor {total_field!r}, so nothing tells whether it is whole",
                    where=f"{entity.system}/{entity.name} {url}",
                    next_step=f"name the fields as cursor_field and total_field in sources/catalog/{entity.system}.yml",
                )
            if not body.get(cursor_field):
                break
            query["cursor"] = body[cursor_field]
    if total is not None and seen != total:
        raise _Changed


def _get(entity: Entity, client: httpx.Client, url: str, query: dict[str, Any]) -> dict[str, Any]:
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
            f"renew SSC_{entity.system.upper()}_TOKEN"
            if status in (401, 403)
            else "ask the department whether the system is down, then pull again; nothing was lost"
        )
        raise PullError(
            f"the server answered {status} after {ATTEMPTS if status >= 429 else 1} attempt(s)", where=where, next_step=mend
        ) from None
    except (httpx.TransportError, json.JSONDecodeError) as error:
        raise PullError(
            f"no whole answer after {ATTEMPTS} attempts ({type(error).__name__}: {error})",
            where=where,
            next_step=f"check SSC_{entity.system.upper()}_URL and the network, then pull again; nothing was lost",
        ) from None
    if not isinstance(body, dict):
        raise PullError("the answer is no JSON object", where=where, next_step="compare the interface with the catalogue")
    return body
