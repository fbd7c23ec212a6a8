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

from sources.reference_district.district import DistrictError, iso, seconds
from sources.reference_district.records import Register

LIMIT = 2000
HIDDEN = 3  # rows that are not there yet when a paged list is first read
STALLING = ("grid_event", "service_request")  # whose first read meets a response that stalls


@dataclass(frozen=True)
class Interface:
    """How one system's server is asked: path -> (entity, style), and the names of its parameters.

    style: cursor (an object with a cursor to the next page), page (an object with pages by number), list (a bare list with
    pages by number, its length in a header) or whole (a bare list, all at once).
    """

    paths: dict[str, tuple[str, str]]
    since: str
    until: str
    size: str


INTERFACES = {
    "grid_management": Interface(
        {
            "/api/v1/grid-events": ("grid_event", "cursor"),
            "/api/v1/residents": ("resident", "cursor"),
            "/api/v1/households": ("household", "page"),
            "/api/v1/rented-housing": ("rented_housing", "page"),
        },
        "updatedSince",
        "updatedUntil",
        "limit",
    ),
    "urban_management": Interface(
        {
            "/services.json": ("service", "whole"),
            "/requests.json": ("service_request", "list"),
            "/falling_objects.json": ("falling_object", "list"),
        },
        "updated_after",
        "updated_before",
        "page_size",
    ),
}
# Filters of Open311 GeoReport v2 for /requests.json: comma-separated values of a field, and bounds of another.
VALUE_FILTERS = ("service_request_id", "service_code", "status")
BOUND_FILTERS = {"start_date": "requested_datetime", "end_date": "requested_datetime"}


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

    def __init__(
        self,
        interface: Interface,
        registers: dict[str, Register],
        token: str,
        seed: int,
        clock: Callable[[], int],
        behaviour: Behaviour,
    ) -> None:
        self.interface = interface
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
        self,
        entity: str,
        style: str,
        since: int | None,
        until: int | None,
        limit: int,
        cursor: str | None,
        page: int,
        filters: tuple[tuple[str, str], ...] = (),
    ) -> tuple[object, dict[str, str]]:
        """The body of one page, and its headers.

        Raises:
            DistrictError: the cursor is none of ours.
        """
        clock = self.clock()
        register = self.registers[entity]
        end = min(until if until is not None else clock, clock)
        chosen = self._selection(entity, since, end, clock, filters)
        total = len(chosen)
        if style == "whole":
            return register.rows(chosen), {"X-Total-Count": str(total)}
        if style == "cursor":
            start = 0 if cursor is None else int(np.searchsorted(chosen, _position(cursor), side="right"))
            numbers = chosen[start : start + limit]
            more = start + limit < total
            return {"data": register.rows(numbers), "nextCursor": _cursor(int(numbers[-1])) if more else None, "total": total}, {}
        if page == 1:
            window = self.windows.setdefault((entity, since, until), _Window())
            window.first_pages += 1
            if self.behaviour.faults and window.first_pages == 1 and total > limit:
                chosen = chosen[HIDDEN:]
        total = len(chosen)
        rows = register.rows(chosen[(page - 1) * limit : page * limit])
        if style == "list":
            return rows, {"X-Total-Count": str(total)}
        return {"data": rows, "page": page, "pages": max(1, -(-total // limit)), "total": total}, {}

    def _selection(self, entity: str, since: int | None, until: int, clock: int, filters: tuple[tuple[str, str], ...] = ()) -> np.ndarray:
        key = (entity, since, until, clock, filters)
        if key not in self.selections:
            register = self.registers[entity]
            self.selections[key] = _narrowed(register, register.visible(since, until, clock), filters)
            while len(self.selections) > 16:
                self.selections.popitem(last=False)
        return self.selections[key]


def _narrowed(register: Register, numbers: np.ndarray, filters: tuple[tuple[str, str], ...]) -> np.ndarray:
    """Those of the row numbers that pass every filter. Bounds compare texts: all of them are of one offset."""
    for name, value in filters:
        field_name = BOUND_FILTERS.get(name, name)
        texts = register.values(field_name, numbers)
        if name in VALUE_FILTERS:
            passes = texts.is_in(value.split(","))
        else:
            bound = iso(seconds(value, name))
            passes = texts >= bound if name == "start_date" else texts <= bound
        numbers = numbers[passes.fill_null(False).to_numpy()]
    return numbers


def scheduled_fault(seed: int, entity: str, since: int | None, until: int, ordinal: int, attempt: int) -> str | None:
    """The schedule: a first read of everything meets each kind once; later windows meet them by chance of the seed."""
    if since is None:
        kind = {1: "429", 2: "500", 4: "stall" if entity in STALLING else "503"}.get(ordinal)
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
    """The HTTP side: ``/<system><path>``."""

    def endpoint(service: Service, entity: str, style: str) -> Callable[[Request], object]:
        async def get(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {service.token}".encode()):
                return _json({"error": "a valid token is needed"}, 401, {"WWW-Authenticate": "Bearer"})
            try:
                query = request.query_params
                names = service.interface
                since, until = (seconds(query[n].replace(" ", "+"), n) if query.get(n) else None for n in (names.since, names.until))
                limit, page = (_whole(query.get(n) or default, n) for n, default in ((names.size, LIMIT), ("page", 1)))
                filters = tuple(
                    (n, query[n].replace(" ", "+") if n in BOUND_FILTERS else query[n])
                    for n in (*VALUE_FILTERS, *BOUND_FILTERS)
                    if entity == "service_request" and query.get(n)
                )
                cursor = query.get("cursor") or None
                fault = service.fault(entity, since, until if until is not None else -1, f"{cursor}|{page}|{limit}")
                if fault == "429":
                    return _json({"error": "too many requests"}, 429, {"Retry-After": str(service.behaviour.retry_after_seconds)})
                if fault in ("500", "503"):
                    return _json({"error": "the department's system is busy"}, int(fault), {})
                if fault == "stall":
                    await asyncio.sleep(service.behaviour.stall_seconds)
                body, headers = service.answer(entity, style, since, until, min(limit, LIMIT), cursor, page, filters)
                return _json(body, 200, headers)
            except DistrictError as error:
                return _json({"error": str(error)}, 400, {})

        return get

    return Starlette(
        routes=[
            Route(f"/{system}{path}", endpoint(service, entity, style), methods=["GET"])
            for system, service in systems.items()
            for path, (entity, style) in service.interface.paths.items()
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
