"""The application: routes, and what answers where no route does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route
from starlette.types import ASGIApp

from pipeline.config import Settings
from pipeline.gateway import operations, receipts
from pipeline.gateway.account import money, opt_outs, prices, tokens
from pipeline.gateway.batches import queries as batches
from pipeline.gateway.batches import upload
from pipeline.gateway.callbacks import deliveries, endpoints
from pipeline.gateway.door.edge import Edge
from pipeline.gateway.messages import cancel, create, drafts, estimate, queries
from pipeline.gateway.openapi import routes as description
from pipeline.gateway.otp import routes as otp
from pipeline.gateway.problems import problem, refuse
from pipeline.gateway.routing import GONE, Direct, Front, mount
from pipeline.gateway.services import Services
from pipeline.numbers import classify
from schemas import errors, faults

#: Each with its routes, in the order in which they are documented.
_MODULES = (
    create,
    queries,
    upload,
    batches,
    otp,
    estimate,
    cancel,
    drafts,
    money,
    prices,
    opt_outs,
    endpoints,
    deliveries,
    tokens,
    receipts,
    operations,
    description,
)
#: What a page of another origin may do once its origin is allowed. It names its token itself: there are no cookies.
_CORS: dict[str, Any] = {
    "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
    "allow_headers": ["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"],
    "expose_headers": ["RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"],
    "max_age": 600,
}


def create_app(settings: Settings) -> FastAPI:
    """The gateway over these settings. It answers at once; `/health/ready` tells when it can do more.

    Raises ConfigError where a carrier's secret cannot be used.
    """
    services = Services(settings)
    classify("+393331234567")  # loads the numbering plans now, not with the first message

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.start()
        try:
            yield
        finally:
            await services.stop()

    app = FastAPI(title="sms-pipeline", openapi_url=None, lifespan=lifespan)
    app.state.services = services
    mount(app, [module.router for module in _MODULES])
    if origins := settings.gateway.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=origins, **_CORS)
    app.add_middleware(Edge, guard=services.guard, access_log=settings.gateway.access_log)
    app.add_exception_handler(RequestValidationError, _bad_parameters)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(ClientDisconnect, _gone)
    return app


def front(app: FastAPI, settings: Settings) -> ASGIApp:
    """The same, as it is served: with a short way for what is asked most. Answers to other origins take the long one,
    which knows their headers."""
    if settings.gateway.cors_origins:
        return app
    direct = Direct(app)
    edge = Edge(direct, guard=app.state.services.guard, access_log=settings.gateway.access_log)
    return Front(direct, edge, app)


async def _bad_parameters(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    named = "; ".join(f"{fault['loc'][-1]}: {faults.words(fault)}" for fault in error.errors())
    return problem(refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.MALFORMED_REQUEST, named))


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = errors.NOT_FOUND if error.status_code == HTTPStatus.NOT_FOUND else errors.MALFORMED_REQUEST
    answer = problem(refuse(error.status_code, code, f"{request.method} {request.url.path[:200]}: {error.detail}"))
    answer.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = ", ".join(_methods(request))
    return answer


def _methods(request: Request) -> list[str]:
    """Every method of the path (RFC 9110, 10.2.1): each of a path's methods is a route of its own here."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    return sorted(
        method for route in routes if route.matches(request.scope)[0] != Match.NONE for method in route.methods or ()
    )


async def _gone(_: Request, __: Exception) -> Response:
    return GONE
