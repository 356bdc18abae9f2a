"""An upload goes through the whole system, and is followed as a batch."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from endtoend import numbers, wait_for
from wholesystem import System

pytestmark = pytest.mark.e2e

COUNT = 1500


def test_an_upload_is_sent_once_and_its_batch_tells_so(plain: System) -> None:
    lines = [f"{number};Ada {place}" for place, number in enumerate(numbers(COUNT))]
    body = "\n".join(["number;name", *lines, "+390669812345;Bob", lines[3], "broken"])
    request = {"sender": "ACME", "message": "Ciao {{name}}", "requestId": "campaign-1", "name": "Spring"}
    parts = {"request": (None, json.dumps(request)), "recipients": ("people.csv", body, "text/csv")}
    headers = {"Authorization": f"Bearer {plain.rig.token}"}
    with httpx.Client(base_url=plain.rig.system.gateway_url, headers=headers, timeout=30) as http:
        answers = [http.post("/batches", files=parts) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 202], answers[0].text
        assert answers[0].json() == answers[1].json()
        data = answers[0].json()["data"]
        assert (data["recipients"], data["repeats"], data["badLineCount"]) == (COUNT + 1, 1, 1)

        def done() -> dict[str, object] | None:
            told: dict[str, object] = http.get("/batches/campaign-1").json()["data"]
            return told if told["progress"] == {"known": COUNT + 1, "final": COUNT + 1, "share": 1.0} else None

        told = wait_for(done, what="the batch's end")
        assert told["detailedStates"] == {"DELIVERED": COUNT, "REJECTED": 1}
        spent = {"spent": f"{COUNT * 0.05:.2f}", "reserved": "0.00", "currency": "EUR"}
        wait_for(lambda: http.get("/batches/campaign-1").json()["data"]["cost"] == spent, what="its cost")
        wait_for(lambda: "campaign-1" in [one["id"] for one in http.get("/batches").json()["data"]])
        rows = list(csv.DictReader(io.StringIO(http.get("/batches/campaign-1/messages?format=csv").text)))
        assert [row["recipient"] for row in rows] == [*numbers(COUNT), "+390669812345"]
        last = http.get("/batches/campaign-1/messages", params={"state": "REJECTED"}).json()
        assert [(one["requestId"], one["index"]) for one in last["data"]] == [("campaign-1/2", COUNT - 1000)]
        told = plain.user.fates("campaign-1/1", 1000)
        assert len(told) == 1000
    assert plain.rig.stats()["repeatedReferences"] == 0
    (view,) = [json.loads(line) for line in plain.cli("batches", "campaign-1", "--json").splitlines()]
    assert (view["account"], view["progress"]["share"], view["cost"]) == (plain.user.account, 1.0, spent)
    table = plain.cli("batches", "campaign-1")
    assert "100.0%" in table and "Spring" in table and f"line {COUNT + 4}: " in table


@pytest.mark.parametrize("by", ["http", "command"])
def test_an_upload_is_cancelled_by_its_id(plain: System, by: str) -> None:
    """All of the requests that it was taken as, none of which anybody but us has names for."""
    name, at = f"later-{by}", datetime.now(UTC) + timedelta(hours=1)
    request = {"message": "Ciao", "requestId": name, "options": {"sendAt": at.strftime("%Y-%m-%dT%H:%M:%SZ")}}
    parts = {"request": (None, json.dumps(request)), "recipients": ("people.csv", "\n".join(numbers(COUNT)))}
    headers = {"Authorization": f"Bearer {plain.rig.token}"}
    with httpx.Client(base_url=plain.rig.system.gateway_url, headers=headers, timeout=30) as http:
        assert http.post("/batches", files=parts).status_code == 202

        def states() -> dict[str, int]:
            told: dict[str, int] = http.get(f"/batches/{name}").json()["data"]["detailedStates"]
            return told

        wait_for(lambda: states() == {"SCHEDULED": COUNT}, what="all of it scheduled")
        if by == "http":
            answer = http.post("/messages/cancel", json={"requestId": name})
            assert (answer.status_code, answer.json()["data"]["states"]) == (202, {"SCHEDULED": COUNT})
        else:
            plain.cli("cancel", "--account", plain.user.account, "--request", name)
        wait_for(lambda: states() == {"CANCELED": COUNT}, what="all of it cancelled")
        wait_for(lambda: http.get(f"/batches/{name}").json()["data"]["cost"]["reserved"] == "0.00", what="its money")
    told = plain.cli("status", "--account", plain.user.account, "--request", name, "--json").splitlines()
    assert len(told) == COUNT
