"""The application: routes, and what answers where no route does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pipeline.config import Settings
from pipeline.gateway import messages, money, operations, opt_outs, prices, queries, receipts
from pipeline.gateway.edge import Edge
from pipeline.gateway.problems import problem, refuse
from pipeline.gateway.services import Services
from schemas import errors


def create_app(settings: Settings) -> FastAPI:
    """The gateway over these settings. It answers at once; `/health/ready` tells when it can do more.

    Raises ConfigError where a carrier's secret cannot be used.
    """
    services = Services(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.start()
        try:
            yield
        finally:
            await services.stop()

    app = FastAPI(title="sms-pipeline", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.services = services
    for module in (messages, queries, money, prices, opt_outs, receipts, operations):
        app.include_router(module.router)
    app.add_middleware(Edge)
    app.add_exception_handler(RequestValidationError, _bad_parameters)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _broken)
    return app


async def _bad_parameters(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    named = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
    return problem(refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.MALFORMED_REQUEST, named))


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = errors.NOT_FOUND if error.status_code == HTTPStatus.NOT_FOUND else errors.MALFORMED_REQUEST
    answer = problem(refuse(error.status_code, code, f"{request.method} {request.url.path[:200]}: {error.detail}"))
    answer.headers.update(error.headers or {})
    return answer


async def _gone(_: Request, __: Exception) -> Response:
    """The client went away while sending: nobody reads this, nothing was taken."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _broken(_: Request, __: Exception) -> Response:
    """A bug. The server logs it; the client learns no details."""
    message = "something went wrong here; whether the request was taken is not known"
    return problem(refuse(HTTPStatus.INTERNAL_SERVER_ERROR, errors.UNAVAILABLE, message))
