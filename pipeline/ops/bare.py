"""`python -m pipeline.ops.bare PORT`: the bare FastAPI route that `bench --http` holds the gateway against.

It reads nothing and answers 201 without a body, under uvicorn as the gateway is: the fastest that this framework and
server can be on this machine.
"""

import sys

import uvicorn
from fastapi import FastAPI, Response

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


@app.post("/messages")
async def nothing() -> Response:
    return Response(status_code=201)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), http="httptools", log_config=None, access_log=False, server_header=False)
