"""`/openapi.json` and `/docs`: for anybody, without a token."""

import asyncio

from fastapi import APIRouter, Request, Response

from pipeline.gateway.openapi import document, html

router = APIRouter(tags=["Operations"])


@router.get("/openapi.json", summary="This document")
async def described(request: Request) -> Response:
    """The description of every operation, in OpenAPI 3.1: for generating clients and for tools."""
    body = await asyncio.to_thread(document.encoded, request.app)
    return Response(body, media_type="application/json")


@router.get("/docs", summary="This document, to be read")
async def page(request: Request) -> Response:
    """A page without scripts, readable offline."""
    body = await asyncio.to_thread(html.encoded, request.app)
    return Response(body, media_type="text/html", headers={"Content-Security-Policy": html.POLICY})
