"""The departments' REST servers, played by one process: tokens, pages, cursors, and the faults that real servers have.

Faults are bounded and follow a schedule of (entity, window, which page of it, which attempt): a rate limit, now and then a 500
or 503, rarely a response that stalls, and once per window of a page-paginated entity a list that changes while it is read.
None of them changes what is read in the end. `Service` holds all of it without HTTP; `application` puts it on the wire.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import os
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sources.reference_district.district import DistrictError, seconds
from sources.reference_district.records import Register

LIMIT = 2000
HIDDEN = 3  # rows that are not there yet when a paged list is first read
PATHS = {
    "/api/v1/grid-events": ("grid_event", "cursor"),
    "/api/v1/residents": ("resident", "cursor"),
    "/api/v1/households": ("household", "page"),
    "/api/v1/rented-housing": ("rented_housing", "page"),
}


@dataclass(frozen=True)
class Behaviour:
    """How badly the server behaves. SSC_DISTRICT_FAULTS=off, _STALL_SECONDS and _RETRY_AFTER_SECONDS set it."""

    faults: bool = True
    stall_seconds: float = 12.0
    retry_after_seconds: int = 1

    @classmethod
    def from_environment(cls) -> Behaviour:
        return cls(
            os.environ.get("SSC_DISTRICT_FAULTS", "on") != "off",
            float(os.environ.get("SSC_DISTRICT_STALL_SECONDS") or cls.stall_seconds),
            int(os.environ.get("SSC_DISTRICT_RETRY_AFTER_SECONDS") or cls.retry_after_seconds),
        )


@dataclass
class _Window:
    """What the server remembers of one window of one entity: the pages asked for, and how often each."""

    attempts: dict[str, int] = field(default_factory=dict)
    first_pages: int = 0


class Service:
    """Answers requests for one system's registers.

    clock: returns the moment up to which records have arrived, asked once per request.
    """

    def __init__(self, registers: dict[str, Register], token: str, seed: int, clock: Callable[[], int], behaviour: Behaviour) -> None:
        self.registers, self.token, self.seed, self.clock, self.behaviour = registers, token, seed, clock, behaviour
        self.windows: dict[tuple[object, ...], _Window] = {}
        self.selections: OrderedDict[tuple[object, ...], np.ndarray] = OrderedDict()

    def fault(self, entity: str, since: int | None, until: int, page: str) -> str | None:
        """What goes wrong with this request: ``429``, ``500``, ``503``, ``stall``, or None. Counts the attempt."""
        window = self.windows.setdefault((entity, since, until), _Window())
        ordinal = list(window.attempts).index(page) if page in window.attempts else len(window.attempts)
        attempt = window.attempts.get(page, 0)
        window.attempts[page] = attempt + 1
        if not self.behaviour.faults:
            return None
        return scheduled_fault(self.seed, entity, since, until, ordinal, attempt)

    def answer(
        self, entity: str, style: str, since: int | None, until: int | None, limit: int, cursor: str | None, page: int
    ) -> dict[str, object]:
        """The body of one page.

        Raises:
            DistrictError: the cursor is none of ours.
        """
        clock = self.clock()
        register = self.registers[entity]
        end = min(until if until is not None else clock, clock)
        chosen = self._selection(entity, since, end, clock)
        if style == "cursor":
            start = 0 if cursor is None else int(np.searchsorted(chosen, _position(cursor), side="right"))
            numbers = chosen[start : start + limit]
            more = start + limit < len(chosen)
            return {
                "data": register.rows(numbers),
                "nextCursor": _cursor(int(numbers[-1])) if more else None,
                "total": len(chosen),
            }
        if page == 1:
            window = self.windows.setdefault((entity, since, until), _Window())
            window.first_pages += 1
            if self.behaviour.faults and window.first_pages == 1 and len(chosen) > limit:
                chosen = chosen[HIDDEN:]
        numbers = chosen[(page - 1) * limit : page * limit]
        return {"data": register.rows(numbers), "page": page, "pages": max(1, -(-len(chosen) // limit)), "total": len(chosen)}

    def _selection(self, entity: str, since: int | None, until: int, clock: int) -> np.ndarray:
        key = (entity, since, until, clock)
        if key not in self.selections:
            self.selections[key] = self.registers[entity].visible(since, until, clock)
            while len(self.selections) > 16:
                self.selections.popitem(last=False)
        return self.selections[key]


def scheduled_fault(seed: int, entity: str, since: int | None, until: int, ordinal: int, attempt: int) -> str | None:
    """The schedule: a first read of everything meets each kind once; later windows meet them by chance of the seed."""
    if since is None:
        kind = {1: "429", 2: "500", 4: "stall" if entity == "grid_event" else "503"}.get(ordinal)
        return kind if attempt == 0 else None
    drawn = zlib.crc32(f"{seed}|{entity}|{since}|{until}|{ordinal}".encode()) % 1000
    if drawn < 10:
        return "503" if attempt < 2 else None
    if attempt:
        return None
    return "429" if drawn < 40 else "500" if drawn < 60 else "stall" if drawn < 63 else None


def _cursor(number: int) -> str:
    return base64.urlsafe_b64encode(f"r{number}".encode()).decode()


def _position(cursor: str) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor.encode()).decode()
        return int(text.removeprefix("r"))
    except (binascii.Error, ValueError, UnicodeError) as error:
        raise DistrictError("this cursor was not given out here", where="cursor", next_step="read the window from its beginning") from error


def application(systems: dict[str, Service]) -> Starlette:
    """The HTTP side: ``/<system><physicalName>``."""

    def endpoint(service: Service, entity: str, style: str) -> Callable[[Request], object]:
        async def get(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {service.token}".encode()):
                return _json({"error": "a valid token is needed"}, 401, {"WWW-Authenticate": "Bearer"})
            try:
                query = request.query_params
                since, until = (seconds(query[n].replace(" ", "+"), n) if query.get(n) else None for n in ("updatedSince", "updatedUntil"))
                limit, page = (_whole(query.get(n) or default, n) for n, default in (("limit", LIMIT), ("page", 1)))
                cursor = query.get("cursor") or None
                fault = service.fault(entity, since, until if until is not None else -1, f"{cursor}|{page}|{limit}")
                if fault == "429":
                    return _json({"error": "too many requests"}, 429, {"Retry-After": str(service.behaviour.retry_after_seconds)})
                if fault in ("500", "503"):
                    return _json({"error": "the department's system is busy"}, int(fault), {})
                if fault == "stall":
                    await asyncio.sleep(service.behaviour.stall_seconds)
                return _json(service.answer(entity, style, since, until, min(limit, LIMIT), cursor, page), 200, {})
            except DistrictError as error:
                return _json({"error": str(error)}, 400, {})

        return get

    return Starlette(
        routes=[
            Route(f"/{system}{path}", endpoint(service, entity, style), methods=["GET"])
            for system, service in systems.items()
            for path, (entity, style) in PATHS.items()
        ]
    )


def _whole(value: object, name: str) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise DistrictError(f"{value!r} is no number above 0", where=name, next_step="leave it out, or write a number")
    return number


def _json(body: object, status: int, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")
