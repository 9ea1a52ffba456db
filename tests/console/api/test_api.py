"""The HTTP API: who may call what, and what each call does in the store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from receiver.console.api.app import MAX_BODY, OPERATIONS
from receiver.console.api.operations import ROOT, Operation
from receiver.console.roles import Role
from tests import stored
from tests.console.api.calling import ANN, BEN, Caller, calling, fill
from tests.harness import subscription, take
from tests.schema import validator

pytestmark = pytest.mark.anyio

SEND = {"to": ANN, "text": "hello"}


def path_of(operation: Operation) -> str:
    """The path of an operation, with ids of nothing in it."""
    return operation.path.replace("{msisdn}", ANN).replace("{id}", "4711")


async def checked(caller: Caller, method: str, path: str, **options: Any) -> Any:
    """An answer that the OpenAPI document has for this call, by its status."""
    found = await caller.call(method, path, **options)
    document = (await caller.call("GET", "/openapi.json", role=None)).json()
    below = path.removeprefix(ROOT).partition("?")[0]
    [described] = [
        operations[method.lower()]
        for pattern, operations in document["paths"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", pattern), below) and method.lower() in operations
    ]
    content = described["responses"][str(found.status_code)]["content"]
    kind = found.headers["content-type"]
    schema = {**content[kind]["schema"], "components": document["components"]}
    validator(schema).validate(found.json())
    return found


@pytest.mark.commit
async def test_every_call_needs_a_token_and_its_role(tmp_path: Path) -> None:
    """By the table of calls: 401 without one, 403 with a lower role, and neither with its own."""
    async with calling(tmp_path) as caller:
        for operation in OPERATIONS:
            where = operation.method, path_of(operation)
            assert (await caller.call(*where, role=None)).status_code == 401
            wrong = await caller.call(*where, role=None, headers={"authorization": "Bearer rcv_x"})
            assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, "Bearer")
            for role in Role:
                found = await checked(caller, *where, role=role)
                assert (found.status_code == 403) == (role < operation.role), (where, role)
                assert found.status_code not in (401, 500)


async def test_a_session_is_no_token(tmp_path: Path) -> None:
    """Else a page of somebody else could call it with the browser's cookie."""
    async with calling(tmp_path) as caller:
        accounts = caller.console.accounts
        accounts.add_user("ann", Role.ADMIN, "a long password", "test")
        secret = accounts.log_in("ann", "a long password", "")
        cookies = {"cookie": f"receiver={secret}; __Host-receiver={secret}"}
        assert (await caller.call("GET", "/events", role=None, headers=cookies)).status_code == 401


async def test_lists_and_details_are_as_the_document_has_them(tmp_path: Path) -> None:
    """For every role that may see them, with something of every kind in the store."""
    async with calling(tmp_path) as caller:
        await fill(caller.service)
        await caller.call("POST", "/messages", json=SEND)
        for path in ("events", "messages", "quarantine", "subscriptions", "opt-outs", "jobs"):
            listed = (await checked(caller, "GET", f"/{path}")).json()["data"]
            assert listed, path
            for each in listed if path in ("events", "messages", "quarantine") else ():
                await checked(caller, "GET", f"/{path}/{each['id']}")
                await checked(caller, "GET", f"/{path}/{each['id']}", role=Role.VIEWER)
        for person in (ANN, BEN, "0726770792"):
            found = (await checked(caller, "GET", f"/persons/{person}")).json()
            assert {entry["kind"] for entry in found["data"]} >= {"event"}


async def test_viewers_see_no_number_and_no_text(tmp_path: Path) -> None:
    """In no answer that they may have, whatever strangers wrote."""
    async with calling(tmp_path) as caller:
        await fill(caller.service)
        await caller.call("POST", "/messages", json=SEND)
        for operation in OPERATIONS:
            if operation.method == "GET" and operation.role == Role.VIEWER:
                paths = [operation.path]
                if "{id}" in operation.path:
                    several = await caller.get(operation.path.partition("/{")[0])
                    paths = [operation.path.replace("{id}", str(e["id"])) for e in several["data"]]
                for path in paths:
                    answer = await caller.call("GET", path, role=Role.VIEWER)
                    assert answer.status_code == 200
                    for secret in ("726770792", "708400000", "GAME on", "hello"):
                        assert secret not in answer.text, (path, secret)
        refused = await caller.call("GET", f"/events?msisdn={ANN}", role=Role.VIEWER)
        assert refused.status_code == 403


@pytest.mark.parametrize("path", ["events", "messages", "subscriptions", "jobs", "quarantine"])
async def test_pages_join_without_a_gap(tmp_path: Path, path: str) -> None:
    """The links `next` lead over all records, each once, and end."""
    async with calling(tmp_path) as caller:
        for n in range(3):
            await fill(caller.service)
            person = f"+25472677079{n}"
            await caller.call("POST", "/messages", json={**SEND, "to": person})
            joined = subscription("activation", "20261119100000", mobile=person[1:])
            await take(caller.service, joined)
        whole = (await caller.get(f"/{path}"))["data"]
        assert len(whole) >= 3
        found: list[Any] = []
        link = f"/{path}?limit=1"
        while link:
            page = await caller.get(link)
            assert len(page["data"]) == 1
            found += page["data"]
            link = page["next"]
        assert found == whole


async def test_sending_goes_through_the_outbox(tmp_path: Path) -> None:
    """With sender and link_id; the audit has the token's name, and GET shows the message."""
    async with calling(tmp_path) as caller:
        wish = {**SEND, "to": "0726770792", "source": "tilil", "link_id": "L", "sender": "70700"}
        made = await checked(caller, "POST", "/messages", json=wish, role=Role.CARE)
        assert made.status_code == 201
        assert made.headers["location"] == f"{ROOT}/messages/{made.json()['id']}"
        shown = await caller.get(made.headers["location"])
    assert (shown["to"], shown["text"], shown["link_id"]) == (ANN, "hello", "L")
    assert (shown["sender"], shown["source"]) == ("70700", "tilil")
    [entry] = stored.acts(tmp_path / "receiver.db")
    assert (entry.act, entry.who.partition(" for ")[2]) == ("send", "token care")


async def test_opt_outs_are_made_and_removed(tmp_path: Path) -> None:
    """A person who has opted out gets no message: 409, with the reason."""
    async with calling(tmp_path) as caller:
        out = {"msisdn": ANN}
        assert (await checked(caller, "POST", "/opt-outs", json=out)).json()["changed"] == 1
        assert (await checked(caller, "POST", "/opt-outs", json=out)).json()["changed"] == 0
        refused = await checked(caller, "POST", "/messages", json=SEND)
        assert refused.status_code == 409
        assert "has opted out" in refused.json()["detail"]
        [line] = (await caller.get("/opt-outs"))["data"]
        assert (line["msisdn"], line["short_code"]) == (ANN, None)
        gone = await checked(caller, "DELETE", f"/opt-outs/{ANN}")
        assert gone.json()["changed"] == 1
        assert (await caller.get("/opt-outs"))["data"] == []


async def test_work_is_tried_again_and_given_up(tmp_path: Path) -> None:
    """Jobs and requests of the quarantine, by their ids; 404 for those that there are none of."""
    async with calling(tmp_path) as caller:
        await fill(caller.service)
        await caller.call("POST", "/messages", json=SEND)
        [refused, *_] = (await caller.get("/quarantine"))["data"]
        again = await checked(caller, "POST", f"/quarantine/{refused['id']}/retry")
        assert again.status_code == 409  # it is still no event
        [job, *_] = (await caller.get("/jobs?kind=send"))["data"]
        assert (await checked(caller, "POST", f"/jobs/{job['id']}/run")).status_code in (200, 409)
        assert (await checked(caller, "DELETE", "/jobs/4711")).status_code == 404
        assert (await checked(caller, "POST", "/quarantine/4711/retry")).status_code == 404


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"content": b"{}"}, 415, "application/json"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "no JSON"),
        ({"json": []}, 422, "Expected `object`"),
        ({"json": {"to": ANN}}, 422, "`text`"),
        ({"json": {**SEND, "text": ""}}, 422, "length >= 1"),
        ({"json": {**SEND, "txt": "x"}}, 422, "unknown field `txt`"),
        ({"json": {**SEND, "to": "nobody"}}, 422, "expected a number such as"),
        ({"json": {**SEND, "source": "tsconect"}}, 422, "expected one of: tilil"),
        ({"json": {**SEND, "text": "é" * MAX_BODY}}, 413, str(MAX_BODY)),
        ({"json": SEND, "headers": {"idempotency-key": "é".encode()}}, 400, "visible characters"),
    ],
)
async def test_wrong_requests_are_told(
    tmp_path: Path, options: dict[str, Any], status: int, words: str
) -> None:
    """As problems of RFC 9457 that say what was expected; nothing is sent."""
    async with calling(tmp_path) as caller:
        found = await checked(caller, "POST", "/messages", **options)
        assert found.headers["content-type"] == "application/problem+json"
        told = found.json()
        assert (found.status_code, told["status"]) == (status, status)
        assert words in told["detail"]
        assert (await caller.get("/messages"))["data"] == []


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/events?typ=x", 422, "typ"),
        ("/events?type=x", 422, "type"),
        ("/events?type=", 422, "type"),
        ("/messages/%0A1", 404, None),
        ("/events?source=nobody", 422, "source"),
        ("/events?limit=0", 422, "limit"),
        ("/events?limit=1001", 422, "limit"),
        ("/events?since=soon", 422, "since"),
        ("/events?source=a&source=b", 422, "source"),
        ("/events?msisdn=nobody", 422, "msisdn"),
        ("/jobs?after=x", 422, "after"),
        ("/jobs?after=InR4Ig==", 422, "after"),
        ("/events/nothing", 404, None),
        ("/messages/x", 404, None),
        (f"/messages/{2**70}", 404, None),
        (f"/persons/{BEN}", 404, None),
        ("/persons/nobody", 422, None),
    ],
)
async def test_wrong_parameters_are_told(
    tmp_path: Path, path: str, status: int, field: str | None
) -> None:
    """None is left out quietly: a list without its filter would be another list."""
    async with calling(tmp_path) as caller:
        found = await checked(caller, "GET", path)
        assert found.status_code == status
        if field:
            assert found.json()["field"] == field


async def test_what_the_router_refuses_is_a_problem_too(tmp_path: Path) -> None:
    """Unknown paths, and methods that a path does not have."""
    async with calling(tmp_path) as caller:
        for method, path, status in (("GET", "/nothing", 404), ("PUT", "/messages", 405)):
            found = await caller.call(method, path)
            assert found.status_code == status
            assert found.headers["content-type"] == "application/problem+json"
            assert found.json()["status"] == status
        assert set(found.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


async def test_a_token_has_its_limit(tmp_path: Path) -> None:
    """Beyond it 429 with the time to wait, and no other token is held up."""
    async with calling(tmp_path) as caller:
        statuses = [(await caller.call("GET", "/events/x")).status_code for _ in range(200)]
        assert set(statuses) == {404, 429}
        found = await caller.call("GET", "/jobs", role=Role.CARE)
        assert found.status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/events"), ("POST", "/messages")])
async def test_without_its_file_nothing_is_done(tmp_path: Path, method: str, path: str) -> None:
    """A disk that cannot be read: 503, and no message whose key could not be noted."""
    async with calling(tmp_path) as caller:
        caller.console.accounts.close()
        found = await checked(caller, method, path, headers={"idempotency-key": "a"})
    assert found.status_code == 503
    assert stored.messages(tmp_path / "receiver.db") == []


async def test_without_a_service_lists_are_there_and_changes_are_not(tmp_path: Path) -> None:
    """503 with the time to wait: nothing was done."""
    async with calling(tmp_path, listening=False) as caller:
        await fill(caller.service)
        assert (await caller.get("/events"))["data"]
        found = await checked(caller, "POST", "/messages", json=SEND)
        assert (found.status_code, found.headers["retry-after"]) == (503, "5")
        assert "does not run" in found.json()["detail"]
