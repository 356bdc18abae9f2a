"""Every refusal of the document, provoked: the answer is that of the example, and as its schema has it."""

from collections.abc import Iterator

import pytest
from described import answered, operations, refusals
from furnished import Furnished, furnished
from provoked import ELSEWHERE, Provoking, Tokens
from serving import eventually

from pipeline.config import Route, Storage, Uploads

CASES = [
    (f"{method} {path}", name, status, body["code"])
    for method, path, told in operations()
    for status, name, body in refusals(told)
    if name not in ELSEWHERE and f"{told['operationId']} {name}" not in ELSEWHERE
]
ROUTES = [Route(prefix=prefix, carriers=["sim"]) for prefix in ("39", "34")]


@pytest.fixture(scope="module")
def world(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    directory = tmp_path_factory.mktemp("refusing")
    changes = {
        "routes": ROUTES,
        "uploads": Uploads(recipients=100),
        # so short that quiet hours cannot be kept
        "storage": Storage(directory=directory, read_model_days=36_500, retention_days=2.5),
    }
    gateway = {"failures_per_minute": 6, "trusted_proxies": ["127.0.0.1"]}
    with furnished(kafka, directory, changes, **gateway) as found:
        yield found


@pytest.fixture(scope="module")
def tokens(world: Furnished) -> Tokens:
    made = Tokens(world)

    def known() -> bool:
        with world.client(made.of["traffic-held"]) as client:
            return client.get("/balance").status_code == 200

    eventually(known)
    return made


# What makes an account full comes last.
@pytest.mark.parametrize(
    ("route", "name", "status", "code"), sorted(CASES, key=lambda case: case[1].startswith("too-many"))
)
def test_a_refusal_is_as_described(
    world: Furnished, tokens: Tokens, route: str, name: str, status: int, code: int
) -> None:
    method, path = route.split(" ")
    told = next(one for a_method, a_path, one in operations() if (a_method, a_path) == (method, path))
    answer = Provoking(world, tokens, method, path, told).provoke(name)
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answered(method, path, answer) == []


def test_what_is_not_provoked_is_described() -> None:
    named = {name for _, _, told in operations() for _, name, _ in refusals(told)}
    named |= {f"{told['operationId']} {name}" for _, _, told in operations() for _, name, _ in refusals(told)}
    assert set(ELSEWHERE) <= named
