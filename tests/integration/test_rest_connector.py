"""The REST connector against a real HTTP server on loopback that misbehaves as departments' servers do."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sources.catalogue import Entity, load_catalogue
from sources.connectors import pull, rest
from sources.connectors.text import parse, text_frame
from sources.errors import PullError
from sources.landing import Landing

pytestmark = pytest.mark.integration
T1 = datetime(2026, 6, 1, tzinfo=UTC)
T2 = datetime(2026, 6, 2, tzinfo=UTC)
Answer = Callable[[Request, int], Response]


class Department:
    """A server whose answers a test decides; counts the requests."""

    def __init__(self) -> None:
        self.answer: Answer = lambda request, number: JSONResponse({"data": [], "nextCursor": None, "total": 0})
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return self.answer(request, len(self.requests))


@pytest.fixture
def department(monkeypatch: pytest.MonkeyPatch) -> Iterator[Department]:
    department = Department()
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/{path:path}", department.__call__)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    monkeypatch.setenv("SSC_GRID_MANAGEMENT_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("SSC_URBAN_MANAGEMENT_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("SSC_GRID_MANAGEMENT_TOKEN", "a token")
    yield department
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def events() -> Entity:
    return load_catalogue()["grid_management"].entity("grid_event")


@pytest.fixture
def households() -> Entity:
    return load_catalogue()["grid_management"].entity("household")


def landed(entity: Entity) -> list[dict[str, str | None]]:
    newest = Landing().newest(entity.system, entity.name)
    assert newest is not None
    return pl.read_parquet(newest.parts).drop("_load_id", "_row").to_dicts() if newest.parts else []


def test_values_land_as_they_were_sent(department: Department, events: Entity) -> None:
    body = (
        '{"data": [{"eventId": "007", "n": 1.10, "big": 12345678901234567890, "ok": true, "none": null, '
        '"at": "2026-10-01T08:00:00+08:00", "attachments": [{"名": 1.50}, null]}], "nextCursor": null, "total": 1}'
    )
    department.answer = lambda request, number: Response(body, media_type="application/json")
    pull(events, until=T1)
    [row] = landed(events)
    # the columns beyond the contract stand beside identifiers, so they land hashed
    assert row["eventId"] == "007" and row["attachments"] == '[{"名":1.50},null]'
    assert all(len(str(row[name])) == 64 for name in ("n", "big", "ok", "at")) and row["none"] is None


def test_scalars_keep_their_text() -> None:
    assert text_frame(parse('[{"n": 1.10, "i": 7e1}]')).to_dicts() == [{"n": "1.10", "i": "7e1"}]


def test_identifiers_are_hashed_before_they_land(department: Department, events: Entity, data) -> None:
    department.answer = lambda request, number: JSONResponse(
        {"data": [{"eventId": "1", "reporterPhone": "10012345678", "phone2": "10012345679"}], "nextCursor": None, "total": 1}
    )
    pull(events, until=T1)
    [row] = landed(events)
    assert len(row["reporterPhone"]) == len(row["phone2"]) == 64
    for path in data.rglob("*"):
        if path.is_file():
            assert b"1001234567" not in path.read_bytes(), path


def test_the_token_and_the_window_are_sent(department: Department, events: Entity) -> None:
    pull(events, until=T1)
    pull(events, until=T2)
    first, second = department.requests
    assert first.headers["authorization"] == "Bearer a token"
    assert "updatedSince" not in first.query_params and first.query_params["updatedUntil"] == T1.isoformat()
    assert second.query_params["updatedSince"] == T1.isoformat()


def test_cursor_pages_are_read_to_the_end(department: Department, events: Entity) -> None:
    def answer(request: Request, number: int) -> Response:
        at = int(request.query_params.get("cursor", 0))
        return JSONResponse({"data": [{"eventId": str(at)}], "nextCursor": str(at + 1) if at < 2 else None, "total": 3})

    department.answer = answer
    assert pull(events, until=T1).rows == 3
    assert [row["eventId"] for row in landed(events)] == ["0", "1", "2"]


def test_a_list_that_changes_while_it_is_read_is_read_again(department: Department, households: Entity) -> None:
    """Between the first and the second page a row comes in at the front: page 2 repeats a row, the last one moves to page 3."""
    before, after = ["b", "c", "d"], ["a", "b", "c", "d"]

    def answer(request: Request, number: int) -> Response:
        rows, page = (before if number == 1 else after), int(request.query_params["page"])
        chosen = rows[(page - 1) * 2 : page * 2]
        return JSONResponse({"data": [{"householdId": r} for r in chosen], "page": page, "pages": -(-len(rows) // 2), "total": len(rows)})

    department.answer = answer
    assert pull(households, until=T1).rows == 4
    assert sorted(str(row["householdId"]) for row in landed(households)) == after


def test_a_list_that_never_holds_still_lands_nothing(department: Department, households: Entity) -> None:
    department.answer = lambda request, number: JSONResponse({"data": [{"householdId": "a"}], "page": 1, "pages": 2, "total": number})
    with pytest.raises(PullError, match="grid_management/household: the pages changed during each of 5 readings"):
        pull(households, until=T1)
    assert Landing().load_ids("grid_management", "household") == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_fails_now_and_then_is_asked_again(department: Department, events: Entity, status: int) -> None:
    def answer(request: Request, number: int) -> Response:
        if number < 3:
            return PlainTextResponse("later", status_code=status, headers={"Retry-After": "0"})
        return JSONResponse({"data": [{"eventId": "1"}], "nextCursor": None, "total": 1})

    department.answer = answer
    assert pull(events, until=T1).rows == 1 and len(department.requests) == 3


def test_retry_after_is_kept(department: Department, events: Entity) -> None:
    at: list[float] = []

    def answer(request: Request, number: int) -> Response:
        at.append(time.monotonic())
        if number == 1:
            return PlainTextResponse("", status_code=429, headers={"Retry-After": "1"})
        return JSONResponse({"data": [], "nextCursor": None, "total": 0})

    department.answer = answer
    pull(events, until=T1)
    assert at[1] - at[0] >= 1.0


def test_a_stalled_and_a_cut_answer_are_asked_again(department: Department, events: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "TIMEOUT_SECONDS", 0.5)

    def answer(request: Request, number: int) -> Response:
        if number == 1:
            time.sleep(1.0)
        if number == 2:
            return Response('{"data": [{"eventId": "1"', media_type="application/json")
        return JSONResponse({"data": [{"eventId": "1"}], "nextCursor": None, "total": 1})

    department.answer = answer
    assert pull(events, until=T1).rows == 1


def test_a_refused_token_is_not_tried_again_and_says_what_to_do(department: Department, events: Entity) -> None:
    department.answer = lambda request, number: PlainTextResponse("", status_code=401)
    with pytest.raises(PullError, match=r"answered 401.*Next: renew SSC_GRID_MANAGEMENT_TOKEN"):
        pull(events, until=T1)
    assert len(department.requests) == 1


def test_a_missing_setting_is_named(events: Entity) -> None:
    with pytest.raises(Exception, match="SSC_GRID_MANAGEMENT_URL is not set"):
        pull(events, until=T1)


def test_another_shape_of_answer_is_named(department: Department, events: Entity) -> None:
    department.answer = lambda request, number: JSONResponse({"records": []})
    with pytest.raises(PullError, match="no list of records under 'data'"):
        pull(events, until=T1)


def test_pages_without_their_number_are_read_until_one_is_empty(department: Department, households: Entity) -> None:
    def answer(request: Request, number: int) -> Response:
        rows = ["a", "b", "c"][(int(request.query_params["page"]) - 1) * 2 :][:2]
        return JSONResponse({"data": [{"householdId": r} for r in rows]})

    department.answer = answer
    assert pull(households, until=T1).rows == 3


def test_an_answer_that_does_not_tell_whether_it_is_whole_is_refused(department: Department, events: Entity) -> None:
    department.answer = lambda request, number: JSONResponse({"data": [{"eventId": "1"}], "next": "2"})
    with pytest.raises(PullError, match="neither 'nextCursor' nor 'total'"):
        pull(events, until=T1)


def test_another_identifier_key_is_refused(department: Department, events: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    pull(events, until=T1)
    monkeypatch.setenv("SSC_IDENTIFIER_KEY", "another key")
    with pytest.raises(PullError, match="not the one that earlier loads were hashed with"):
        pull(events, until=T2)


# Open311 GeoReport v2: the answer itself is the list, the total stands in a header


@pytest.fixture
def requests() -> Entity:
    return load_catalogue()["urban_management"].entity("service_request")


@pytest.fixture
def services() -> Entity:
    return load_catalogue()["urban_management"].entity("service")


def listed(rows: list[str], request: Request, total: int | None = None) -> Response:
    """One page of a list of requests, two to a page."""
    page = int(request.query_params["page"])
    chosen = [{"service_request_id": row} for row in rows[(page - 1) * 2 :][:2]]
    return JSONResponse(chosen, headers={"X-Total-Count": str(len(rows) if total is None else total)})


def test_a_list_at_the_top_is_read_page_by_page_until_its_total(department: Department, requests: Entity) -> None:
    department.answer = lambda request, number: listed(["1", "2", "3"], request)
    assert pull(requests, until=T1).rows == 3
    assert [row["service_request_id"] for row in landed(requests)] == ["1", "2", "3"]
    assert [dict(request.query_params) for request in department.requests] == [
        {"updated_before": T1.isoformat(), "page_size": "1000", "page": "1"},
        {"updated_before": T1.isoformat(), "page_size": "1000", "page": "2"},
    ]
    pull(requests, until=T2)
    assert department.requests[2].query_params["updated_after"] == T1.isoformat()
    assert department.requests[0].url.path == "/requests.json"


def test_a_list_at_the_top_without_a_total_is_read_until_a_page_is_empty(department: Department, requests: Entity) -> None:
    def answer(request: Request, number: int) -> Response:
        page = int(request.query_params["page"])
        return JSONResponse([{"service_request_id": str(page)}] if page < 4 else [])

    department.answer = answer
    assert pull(requests, until=T1).rows == 3 and len(department.requests) == 4


def test_a_page_that_changes_while_the_list_is_read_is_read_again(department: Department, requests: Entity) -> None:
    """A request comes in at the front after the first page: its header gives another total on the second."""
    department.answer = lambda request, number: listed(["2", "3", "4"] if number == 1 else ["1", "2", "3", "4"], request)
    assert pull(requests, until=T1).rows == 4
    assert [row["service_request_id"] for row in landed(requests)] == ["1", "2", "3", "4"]


def test_a_wrong_total_lands_nothing_and_is_named(department: Department, requests: Entity) -> None:
    department.answer = lambda request, number: listed(["1", "2", "3"], request, total=5)
    with pytest.raises(PullError, match=r"changed during each of 5 readings \(3 records were sent, the total says 5\).*whether its total"):
        pull(requests, until=T1)
    assert Landing().load_ids("urban_management", "service_request") == []


def test_a_total_that_is_no_number_is_named(department: Department, requests: Entity) -> None:
    department.answer = lambda request, number: JSONResponse([], headers={"X-Total-Count": "many"})
    with pytest.raises(PullError, match="the total under 'X-Total-Count' is no number: 'many'"):
        pull(requests, until=T1)


def test_an_error_body_is_told(department: Department, requests: Entity) -> None:
    reason = [{"code": 400, "description": "jurisdiction_id was not provided"}]
    department.answer = lambda request, number: JSONResponse(reason, status_code=400)
    with pytest.raises(PullError, match=r"answered 400 after 1 attempt\(s\): jurisdiction_id was not provided"):
        pull(requests, until=T1)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([{"code": 500, "description": "busy"}], r"no record has a field service_request_id; there are code, description"),
        ({"error": "busy"}, r"the answer is no list of records"),
        ([["1"]], r"the answer is no list of records"),
    ],
)
def test_an_error_that_is_sent_as_if_all_was_well_lands_nothing(department: Department, requests: Entity, body: object, said: str) -> None:
    department.answer = lambda request, number: JSONResponse(body)
    with pytest.raises(PullError, match=said + r".*Next: compare the interface with sources/catalog/urban_management\.yml"):
        pull(requests, until=T1)
    assert Landing().load_ids("urban_management", "service_request") == []


def test_a_whole_list_lands_when_it_has_changed(department: Department, services: Entity) -> None:
    sent: list[dict[str, object]] = [{"service_code": "1", "metadata": True}, {"service_code": "2", "metadata": False}]
    department.answer = lambda request, number: JSONResponse(sent)
    first = pull(services, until=T1)
    assert first.rows == 2 and dict(department.requests[0].query_params) == {}
    assert [row["metadata"] for row in landed(services)] == ["true", "false"]
    sent.reverse()
    second = pull(services, until=T2)
    assert second.rows == 0 and second.cursor_after == first.cursor_after  # the same records in another order are no news
    assert pull(services, until=datetime(2026, 6, 3, tzinfo=UTC)).rows == 0
    sent[0]["service_name"] = "垃圾"
    assert pull(services, until=datetime(2026, 6, 4, tzinfo=UTC)).rows == 2
    assert pull(services, since=T1, until=T2).rows == 2  # a backfill is asked for, so it lands


def test_a_whole_list_is_checked_against_its_total(department: Department, services: Entity) -> None:
    department.answer = lambda request, number: JSONResponse([{"service_code": "1"}], headers={"X-Total-Count": "2"})
    with pytest.raises(PullError, match="1 records were sent, the total says 2"):
        pull(services, until=T1)


PAYLOADS = os.environ.get("SSC_TEST_PAYLOADS")


@pytest.mark.skipif(not PAYLOADS, reason="SSC_TEST_PAYLOADS names no folder of sample payloads (open311/<kind>/example.json)")
def test_published_samples_land_whole(department: Department, requests: Entity, services: Entity) -> None:
    folder = Path(str(PAYLOADS)) / "open311"
    kinds = {"/requests.json": "service_requests", "/services.json": "services"}

    def answer(request: Request, number: int) -> Response:
        text = (folder / kinds[request.url.path] / "example.json").read_text(encoding="utf-8")
        return Response(f"[{text}]", media_type="application/json", headers={"X-Total-Count": "1"})

    department.answer = answer
    assert pull(requests, until=T1).rows == pull(services, until=T1).rows == 1
    [row] = landed(requests)
    assert row["service_request_id"] == "638344" and row["updated_datetime"] == "2010-04-14T06:37:38-08:00"
    assert row["location"] == '{"type":"Point","coordinates":[-3.164485591715449,40.62785133667262]}'
    for entity, kind in ((requests, "service_requests"), (services, "services")):
        sample = json.loads((folder / kind / "example.json").read_text(encoding="utf-8"))
        [row] = landed(entity)
        assert set(row) == set(sample)
        assert {name: row[name] for name, value in sample.items() if isinstance(value, str)} == {
            name: value for name, value in sample.items() if isinstance(value, str)
        }
        assert {name: json.loads(str(row[name])) for name, value in sample.items() if isinstance(value, (dict, list))} == {
            name: value for name, value in sample.items() if isinstance(value, (dict, list))
        }
