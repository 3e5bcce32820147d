"""Applications of other frameworks, mounted on the site."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

import camber

from .notes import add, texts


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    print("the mounted application starts", flush=True)
    yield {"started": "yes"}
    print("the mounted application ends", flush=True)


api = FastAPI(lifespan=lifespan)


class Note(BaseModel):
    text: str
    stars: int = 0


@api.get("/state")
async def state(request: Request) -> dict[str, str]:
    return {"started": request.state.started, "root": request.scope["root_path"]}


@api.post("/notes")
async def post(note: Note) -> list[str]:
    ctx = camber.current()
    await ctx.run_mutation(add, text=note.text)
    return await ctx.run_query(texts)


@api.get("/blocking")
def blocking() -> list[str]:
    """FastAPI runs this on a thread."""
    return camber.current_sync().run_query(texts)


@api.get("/wrong-blocking")
async def wrong_blocking() -> list[str]:
    return camber.current_sync().run_query(texts)


@api.get("/stream")
async def stream() -> StreamingResponse:
    async def numbers() -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(numbers())


@api.get("/raises")
async def raises() -> None:
    raise ValueError("in FastAPI")


@api.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol=websocket.query_params.get("protocol"))
    ctx = camber.current()
    while True:
        text = await websocket.receive_text()
        await ctx.run_mutation(add, text=text)
        await websocket.send_text(f"{text} of {len(await ctx.run_query(texts))}")


@api.websocket("/refuses")
async def refuses(websocket: WebSocket) -> None:
    await websocket.close(4001)


@api.websocket("/fails")
async def fails(websocket: WebSocket) -> None:
    await websocket.accept()
    raise ValueError("in a WebSocket")


async def socket_app(scope: Scope, receive: Receive, send: Send) -> None:
    """A bare ASGI application that knows no lifespan."""
    assert scope["type"] == "http", scope["type"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})
