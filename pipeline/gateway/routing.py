"""How a request finds its endpoint: FastAPI's usual way takes as long as everything else that is done for it."""

import inspect
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.routing import request_response
from starlette.types import ASGIApp, Receive, Scope, Send


def mount(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Serve the routes of all routers, in one list: each that is included costs every request another look.

    Endpoints that read the request themselves are called as Starlette does it: FastAPI would take the request apart for
    parameters that they do not have.
    """
    for route in (route for router in routers for route in router.routes):
        if isinstance(route, APIRoute) and _plain(route):
            route.app = request_response(route.endpoint)
        app.router.routes.append(route)


#: To a client that went away while sending: nobody reads this, nothing was taken.
GONE = Response(status_code=HTTPStatus.BAD_REQUEST)


class Direct:
    """ASGI: requests to the paths without parameters whose endpoints read the request themselves, past the layers of
    the framework that they have no use for (two handlers of exceptions, telemetry, an exit stack, the search of the
    route). A request that is none of them does not come here."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._routes: Mapping[tuple[str, str], APIRoute] = {
            (method, route.path): route
            for route in reversed(app.router.routes)
            if isinstance(route, APIRoute) and _plain(route) and "{" not in route.path
            for method in route.methods or ()
        }

    def knows(self, scope: Scope) -> bool:
        """Whether it answers this request."""
        return scope["type"] == "http" and (scope["method"], scope["path"]) in self._routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes[scope["method"], scope["path"]]
        scope["app"], scope["route"] = self._app, route
        try:
            answer: Response = await route.endpoint(Request(scope, receive))
        except ClientDisconnect:
            answer = GONE
        await answer(scope, receive, send)


class Front:
    """ASGI: what goes directly, and the whole application for everything else."""

    def __init__(self, direct: Direct, edge: ASGIApp, app: ASGIApp) -> None:
        self.app = app
        self._direct, self._edge = direct, edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._edge if self._direct.knows(scope) else self.app)(scope, receive, send)


def _plain(route: APIRoute) -> bool:
    return list(inspect.signature(route.endpoint).parameters) == ["request"]
