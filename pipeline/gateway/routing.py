"""Routes, mounted so that a request finds its endpoint in few microseconds: FastAPI's own way takes 25 to 65 of them,
as much as a message's way through everything else here."""

import inspect
from collections.abc import Iterable

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Match, Route
from starlette.types import Scope


def mount(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Serve the routes of all routers.

    In one list: each router that is included costs every request another look. And in front of them once more those
    whose endpoints read the request themselves: FastAPI would take it apart for parameters that they do not have. The
    ones behind still document them.
    """
    routes = [route for router in routers for route in router.routes]
    app.router.routes.extend(_Plain(route) for route in routes if isinstance(route, APIRoute) and _plain(route))
    app.router.routes.extend(routes)


class _Plain(Route):
    """A route to an endpoint that takes the request and gives the response."""

    def __init__(self, route: APIRoute) -> None:
        super().__init__(route.path, route.endpoint, include_in_schema=False)
        self.methods = route.methods

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match is not Match.NONE:
            found["route"] = self
        return match, found


def _plain(route: APIRoute) -> bool:
    return list(inspect.signature(route.endpoint).parameters) == ["request"]
