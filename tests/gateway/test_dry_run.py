"""Dry runs and estimates: what every stage would say, at once and without any effect."""

from collections.abc import Iterator
from typing import Any

import broker
import httpx
import pytest
from provided import NUMBER, OTHER, PROHIBITED, SPANISH, bundle, estimate, forbid, fund, known, problem, produced
from serving import TOKENS, Gateway, configured, eventually, put_accounts, serving, start

from pipeline.accounts import AccountRecord, hash_token
from pipeline.billing import Limits
from pipeline.config import Limits as RequestLimits
from pipeline.config import Route
from pipeline.lists import Entry
from pipeline.optouts import OptOut
from schemas import errors

LANDLINE = "+390669812345"


@pytest.fixture(scope="module")
def gateway(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with start(kafka, tmp_path_factory.mktemp("dry"), limits=RequestLimits()) as running:
        fund(running, "acme", "100.00")
        fund(running, "globex", "1.05")
        known(running, "acme", "100.00")
        known(running, "globex", "1.05")
        forbid(running, Entry("term", PROHIBITED))
        out = OptOut("acme", OTHER, None, None)
        broker.produce(running.settings, running.names.opt_outs, [(out.key, out.value, 0)])
        with running.as_("acme") as acme:
            eventually(lambda: acme.get("/opt-outs").json()["data"] != [])
        yield running


@pytest.fixture
def acme(gateway: Gateway) -> Iterator[httpx.Client]:
    """Whoever uses it leaves no record behind."""
    before = produced(gateway)
    with gateway.as_("acme") as client:
        yield client
    assert produced(gateway) == before


def dry(client: httpx.Client, path: str = "/messages", **body: Any) -> httpx.Response:
    options = {"dryRun": True, **body.pop("options", {})}
    whole = {"recipient": NUMBER, "message": "Hello", **body, "options": options}
    if "recipients" in whole:
        del whole["recipient"]
    return client.post(path, json=whole)


def test_it_tells_the_message_and_its_price(acme: httpx.Client) -> None:
    answer = dry(acme, message="Hello {{name}} €", recipient={"number": NUMBER, "fields": {"name": "Ada"}})
    assert answer.status_code == 201, answer.text
    data = answer.json()["data"]
    told = {"state": "NEW", "message": "Hello Ada €", "charactersCount": 12, "messageCount": 1, "price": 0.05,
            "totalPrice": 0.05, "sentAt": None, "countryCode": "IT"}  # fmt: skip
    assert {name: data[name] for name in told} == told
    assert acme.get(f"/messages/{data['id']}").status_code == 404
    two = dry(acme, message="a" * 161).json()["data"]
    assert (two["price"], two["totalPrice"], two["messageCount"]) == (0.05, 0.1, 2)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"recipient": LANDLINE}, errors.INVALID_RECIPIENT),
        ({"sender": "12"}, errors.NUMERIC_SENDER),
        ({"message": "Hi {{name}}"}, errors.MISSING_FIELD),
        ({"message": "中" * 700}, errors.TOO_MANY_PARTS),
        ({"message": f"a {PROHIBITED}"}, errors.PROHIBITED),
        ({"recipient": OTHER}, errors.OPTED_OUT),
        ({"recipient": "+881612345678"}, errors.NO_PRICE),
        ({"recipients": [LANDLINE, LANDLINE]}, errors.INVALID_RECIPIENT),
    ],
)
def test_it_tells_the_error_as_it_would_be(acme: httpx.Client, body: dict[str, Any], code: int) -> None:
    problem(dry(acme, **body), 422, code)


def test_of_several_who_would_get_nothing_and_why(acme: httpx.Client) -> None:
    data = dry(acme, recipients=[NUMBER, LANDLINE, NUMBER, OTHER, SPANISH]).json()["data"]
    assert (data["recipients"], data["accepted"]) == (5, 2)
    assert [(one["index"], one["code"]) for one in data["refused"]] == [
        (1, errors.INVALID_RECIPIENT), (2, errors.DUPLICATE_RECIPIENT), (3, errors.OPTED_OUT)
    ]  # fmt: skip
    assert data["totalPrice"] > 0.05


def test_money_that_does_not_suffice(gateway: Gateway) -> None:
    with gateway.as_("globex") as globex:
        assert dry(globex).status_code == 201
        problem(dry(globex, message="a" * 161), 422, errors.INSUFFICIENT_CREDIT)  # 1.00 a part is asked for
        assert dry(globex, "/IT-messages", message="a" * 161).status_code == 201  # a fixed price, no minimum
        found = estimate(globex, recipient=[NUMBER, OTHER, "+393331234568"])
        assert (found["accepted"], found["totalPrice"], found["sufficient"]) == (3, "0.1500", False)
        assert "this message costs 0.0500, and 1.00 must be available for it" in found["shortage"]
        assert estimate(globex)["shortage"] is None


def test_a_bundle_pays_before_the_wallet(gateway: Gateway) -> None:
    fund(gateway, "globex", "0.00", bundle("italy", 2, "IT"))
    known(gateway, "globex", "0.00")
    with gateway.as_("globex") as globex:
        data = dry(globex, message="a" * 161).json()["data"]
        assert (data["price"], data["totalPrice"]) == (0, 0)
        problem(dry(globex, recipient=SPANISH), 422, errors.INSUFFICIENT_CREDIT)
        found = estimate(globex, recipient=[NUMBER, OTHER, "+393331234568"])
    assert [(group["bundle"], group["parts"], group["totalPrice"]) for group in found["groups"]] == [
        ("italy", 2, "0.0000"), (None, 1, "0.0500")
    ]  # fmt: skip
    assert (found["sufficient"], found["totalPrice"], found["available"]) == (False, "0.0500", "0.00")
    fund(gateway, "globex", "1.05")
    known(gateway, "globex", "1.05")


def test_an_estimate_of_many(acme: httpx.Client) -> None:
    numbers = [f"+39333{number:07d}" for number in range(9_997)]
    found = estimate(acme, recipient=[*numbers, SPANISH, LANDLINE, {"number": OTHER}], message="a" * 161)
    assert (found["recipients"], found["accepted"], found["parts"]) == (10_000, 9_998, 19_996)
    assert [(group["countryCode"], group["recipients"]) for group in found["groups"]] == [("ES", 1), ("IT", 9_997)]
    assert [(one["index"], one["code"]) for one in found["refused"]] == [
        (9_998, errors.INVALID_RECIPIENT), (9_999, errors.OPTED_OUT)
    ]  # fmt: skip
    italian = found["groups"][1]
    assert (italian["price"], italian["totalPrice"], italian["operator"]) == ("0.0500", "999.7000", "TIM")
    assert (found["sufficient"], found["available"], found["currency"]) == (False, "100.00", "EUR")


def test_an_estimate_is_refused_as_a_message_would_be(acme: httpx.Client, gateway: Gateway) -> None:
    problem(acme.post("/estimate", json={"recipient": NUMBER}), 422, errors.MALFORMED_REQUEST)
    problem(gateway.as_("blocked").post("/estimate", json={}), 403, errors.BLOCKLISTED)
    problem(gateway.http.post("/estimate", json={}), 401, errors.UNAUTHENTICATED)


def test_limits_and_routes(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = configured(kafka, tmp_path_factory.mktemp("limited"))
    settings = settings.model_copy(update={"routes": [Route(prefix="39", carriers=["sim"])]})
    broker.create_topics(settings)
    limits = Limits(countries=("IT", "DE"), price=60_000, messages_a_day=2, credit=5_000_000)
    token = hash_token(TOKENS["acme"])
    put_accounts(settings, AccountRecord("acme", "2026-11-22T10:00:00.000Z", [token], limits=limits))
    with serving(settings) as gateway:
        eventually(lambda: gateway.http.get("/health/ready").status_code == 200)
        with gateway.as_("acme") as acme:
            eventually(lambda: dry(acme).status_code == 201)  # on credit
            problem(dry(acme, recipient=SPANISH), 422, errors.COUNTRY_NOT_ALLOWED)
            problem(dry(acme, message="a" * 161), 422, errors.TOO_EXPENSIVE)
            problem(dry(acme, recipient="+4915112345678"), 422, errors.TOO_EXPENSIVE)
            found = estimate(acme, recipient=[NUMBER, OTHER, "+393331234568"])
            assert [one["code"] for one in found["refused"]] == [errors.DAILY_LIMIT]
    cheap = settings.model_copy(update={"routes": [Route(prefix="34", carriers=["sim"])]})
    with serving(cheap) as gateway:
        eventually(lambda: gateway.http.get("/health/ready").status_code == 200)
        with gateway.as_("acme") as acme:
            eventually(lambda: dry(acme).status_code == 422)
            problem(dry(acme), 422, errors.NO_ROUTE)
