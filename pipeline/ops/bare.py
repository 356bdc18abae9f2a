"""`python -m pipeline.ops.bare PORT`: the bare FastAPI route that `bench --http` holds the gateway against.

It reads nothing and answers 201 with an empty object, as FastAPI's tutorial would write it, under uvicorn as the
gateway is.
"""

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


@app.post("/messages", status_code=201)
async def nothing() -> dict[str, str]:
    return {}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), http="httptools", log_config=None, access_log=False, server_header=False)
