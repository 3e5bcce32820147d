"""Declared, and served later."""

from camber import ActionCtx, HttpRouter, Request, Response

http = HttpRouter()


@http.post("/hook")
async def hook(ctx: ActionCtx, request: Request) -> Response:
    return Response("ok")
