"""Every route of the gateway, as the application has it, and what a test must know to ask it something.

A new route is asked by itself. Where it has path parameters, or takes a body, say here what to put there; where it is
public, or wants another scope than read for GET and send for the rest, say that.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from fastapi import FastAPI

from pipeline.tokens import Scope

#: Routes that want no token: probes, the documentation, and carriers, who sign what they send.
PUBLIC = {
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("POST", "/carriers/{name}/receipts"),
}
#: Scopes other than read for GET and HEAD, and send for all else.
SCOPES = {
    ("GET", "/tokens"): Scope.ADMIN,
    ("POST", "/tokens"): Scope.ADMIN,
    ("DELETE", "/tokens/{id}"): Scope.ADMIN,
    ("POST", "/callbacks/endpoints"): Scope.ADMIN,
    ("PUT", "/callbacks/endpoints/{id}"): Scope.ADMIN,
    ("DELETE", "/callbacks/endpoints/{id}"): Scope.ADMIN,
    ("POST", "/callbacks/endpoints/{id}/secrets"): Scope.ADMIN,
    ("POST", "/callbacks/endpoints/{id}/test"): Scope.ADMIN,
}
#: By the path's first part: which of an account's things (see `World` of the test) stands for its parameter.
THINGS = {
    "messages": "message",
    "batches": "batch",
    "drafts": "draft",
    "callbacks": "endpoint",
    "tokens": "token",
    "opt-outs": "number",
}
#: Bodies that are taken, or that are at least read.
_ENDPOINT = {"url": "https://client.example/told", "events": ["message"]}
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/messages/cancel"): {"requestId": "nobodys"},
    ("POST", "/otp/verify"): {"recipient": "+393331234567", "code": "12345"},
    ("POST", "/callbacks/endpoints"): _ENDPOINT,
    ("PUT", "/callbacks/endpoints/{id}"): _ENDPOINT,
    ("POST", "/callbacks/endpoints/{id}/secrets"): {},
    ("POST", "/callbacks/endpoints/{id}/test"): {},
    ("POST", "/tokens"): {"name": "another"},
    ("POST", "/opt-outs"): {"recipients": ["+393339999999"]},
}
_MESSAGE = {"recipient": "+393331234567", "message": "Hello"}
#: Routes that answer anybody alike, or make a thing of one's own under a name that somebody else may use too.
SHARED = {("GET", "/prices"), ("PUT", "/opt-outs/{number}")}


class Route(NamedTuple):
    """`path` as its pattern."""

    method: str
    path: str

    @property
    def scope(self) -> Scope:
        return SCOPES.get(self, Scope.READ if self.method in ("GET", "HEAD") else Scope.SEND)

    @property
    def has_parameter(self) -> bool:
        return "{" in self.path

    @property
    def thing(self) -> str:
        """What its parameter names."""
        first = self.path.split("/")[1]
        assert first in THINGS, f"{self}: say in tests/gateway/routes.py, THINGS, what its parameter names"
        return THINGS[first]

    @property
    def body(self) -> Any:
        """What to send; None without a body."""
        return BODIES.get(self, None if self.method in ("GET", "HEAD", "DELETE") else _MESSAGE)

    def at(self, value: str) -> str:
        """The path with its parameter filled in."""
        begin, _, rest = self.path.partition("{")
        return begin + value + rest.partition("}")[2] if self.has_parameter else self.path


def every(app: FastAPI) -> list[Route]:
    """Every route that wants a token."""
    found = [Route(method, route.path) for route in _flat(app.routes) for method in sorted(route.methods or ())]
    assert Route("POST", "/messages") in found
    return [route for route in found if route not in PUBLIC]


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    """The routes of the routers that were included, too."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner:
            assert not route.include_context.prefix, "a prefix would have to be put before its routes' paths here"
            yield from _flat(inner.routes)
        else:
            yield route
