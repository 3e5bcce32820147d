"""Routes of every kind, and what can go wrong in them."""

import asyncio
import base64
import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, StreamingResponse

from camber import ActionCtx, AppError, HttpRouter, Request, Response

from .mounted import api, socket_app
from .notes import add, me, refuse, texts

http = HttpRouter()


@http.get("/")
async def home(ctx: ActionCtx, request: Request) -> Response:
    """The first page."""
    return Response("home")


@http.get("/seen")
@http.post("/seen")
@http.put("/seen")
@http.patch("/seen")
@http.delete("/seen")
@http.options("/seen")
async def seen(ctx: ActionCtx, request: Request) -> Response:
    """Say what came."""
    body = await request.body()
    print("seen", request.method)
    return JSONResponse(
        {
            "method": request.method,
            "url": str(request.url),
            "query": dict(request.query_params),
            "header": request.headers.get("x-one"),
            "headers": request.headers.getlist("x-many"),
            "size": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "client": request.client.host if request.client else None,
        },
        headers={"X-Answer": "yes"},
    )


@http.get("/cookies")
async def cookies(ctx: ActionCtx, request: Request) -> Response:
    response = Response()
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


# Which of several routes answers.


@http.get("/pets/cats")
async def cats(ctx: ActionCtx, request: Request) -> Response:
    return Response("exact")


@http.get("/pets/{kind}")
async def kind(ctx: ActionCtx, request: Request) -> Response:
    return Response(f"kind {request.path_params['kind']}")


@http.get("/pets/{kind}/{name}")
async def pet(ctx: ActionCtx, request: Request) -> Response:
    return JSONResponse(request.path_params)


@http.get("/pets/cats/{name}")
async def cat(ctx: ActionCtx, request: Request) -> Response:
    return Response(f"cat {request.path_params['name']}")


@http.get(prefix="/pets/")
async def pets(ctx: ActionCtx, request: Request) -> Response:
    return Response(f"below {request.url.path}")


@http.get(prefix="/pets/cats/old/")
async def old_cats(ctx: ActionCtx, request: Request) -> Response:
    return Response(f"old {request.url.path}")


# Functions, identity, environment.


@http.post("/notes")
async def post_note(ctx: ActionCtx, request: Request) -> Response:
    await ctx.run_mutation(add, text=(await request.body()).decode())
    return JSONResponse(await ctx.run_query(texts), status_code=201)


@http.get("/me")
async def who(ctx: ActionCtx, request: Request) -> Response:
    user = ctx.auth.get_user_identity()
    return Response("nobody" if user is None else str(user.name))


@http.get("/me/query")
async def who_by_query(ctx: ActionCtx, request: Request) -> Response:
    return Response(str(await ctx.run_query(me)))


@http.get("/token")
async def token(ctx: ActionCtx, request: Request) -> Response:
    return Response(request.headers.get("authorization", "none"))


@http.get("/env")
async def environment(ctx: ActionCtx, request: Request) -> Response:
    return Response(ctx.env["CONVEX_SITE_URL"])


@http.post("/files")
async def store(ctx: ActionCtx, request: Request) -> Response:
    """Keep what comes while it comes; a job notes it."""
    kind = request.headers.get("content-type")
    id = await ctx.storage.store(request.stream(), content_type=kind)
    await ctx.scheduler.run_after(0, add, text=f"stored {id}")
    return Response(id)


@http.get("/files/{id}")
async def load(ctx: ActionCtx, request: Request) -> Response:
    blob = await ctx.storage.get(request.path_params["id"])
    if blob is None:
        return Response(status_code=404)
    return StreamingResponse(aiter(blob), media_type=blob.content_type)


# Streams.


@http.post("/echo")
async def echo(ctx: ActionCtx, request: Request) -> Response:
    """Send each piece back as it comes."""

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in request.stream():
            if piece:
                yield piece.upper()

    return StreamingResponse(pieces())


@http.get("/count")
async def count(ctx: ActionCtx, request: Request) -> Response:
    """Count without end; note when nobody listens any more."""

    async def numbers() -> AsyncIterator[bytes]:
        number = 0
        try:
            while True:
                yield b"%d\n" % number
                number += 1
                await asyncio.sleep(0.01)
        finally:
            await asyncio.shield(ctx.run_mutation(add, text="stopped counting"))

    return StreamingResponse(numbers(), media_type="text/plain")


@http.get("/flood")
async def flood(ctx: ActionCtx, request: Request) -> Response:
    """Send as fast as the reader takes it; note how far it got when asked to."""
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(int(request.query_params["pieces"])):
            sent += 65536
            await asyncio.to_thread(_note_size, sent)
            yield bytes(65536)

    return StreamingResponse(pieces())


def _note_size(sent: int) -> None:
    progress = Path(os.environ["WEB_PROGRESS"])
    written = progress.with_suffix(".new")
    written.write_text(str(sent))
    written.replace(progress)


@http.post("/slow-reader")
async def slow_reader(ctx: ActionCtx, request: Request) -> Response:
    """Read nothing of the body until the witness says so."""
    await _until_go(ctx)
    return JSONResponse({"size": len(await request.body())})


@http.post("/ignores-body")
async def ignores_body(ctx: ActionCtx, request: Request) -> Response:
    return Response("early")


async def _until_go(ctx: ActionCtx) -> None:
    while "go" not in await ctx.run_query(texts):  # noqa: ASYNC110  # it is a test that says so
        await asyncio.sleep(0.02)


# What goes wrong.


@http.get("/raises")
async def raises(ctx: ActionCtx, request: Request) -> Response:
    raise ValueError("no such thing")


@http.get("/raises/app")
async def raises_app_error(ctx: ActionCtx, request: Request) -> Response:
    raise AppError({"code": "FULL", "seats": 3})


@http.get("/raises/nested")
async def raises_nested(ctx: ActionCtx, request: Request) -> Response:
    await ctx.run_mutation(refuse)
    return Response("never")


@http.get("/raises/late")
async def raises_late(ctx: ActionCtx, request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun"
        raise ValueError("half way")

    return StreamingResponse(pieces())


@http.get("/raises/exit")
async def exits(ctx: ActionCtx, request: Request) -> Response:
    raise SystemExit(3)


@http.get("/returns/text")
async def returns_text(ctx: ActionCtx, request: Request) -> str:
    return "no response"


@http.get("/header/split")
async def splits(ctx: ActionCtx, request: Request) -> Response:
    return Response("x", headers={"X-Bad": "a\r\nSet-Cookie: b=c"})


@http.get("/status/{number}")
async def status(ctx: ActionCtx, request: Request) -> Response:
    return Response("body", status_code=int(request.path_params["number"]))


@http.get("/large")
async def large(ctx: ActionCtx, request: Request) -> Response:
    return Response(bytes(int(request.query_params["size"])))


@http.get("/large/streamed")
async def large_streamed(ctx: ActionCtx, request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(int(request.query_params["size"]) // 65536):
            yield bytes(65536)

    return StreamingResponse(pieces())


@http.post("/lost")
async def lost(ctx: ActionCtx, request: Request) -> Response:
    await ctx.run_mutation(add, text=f"pid {os.getpid()}")
    await asyncio.sleep(60)
    return Response("never")


@http.post("/lost/late")
async def lost_late(ctx: ActionCtx, request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield f"pid {os.getpid()}\n".encode()
        await asyncio.sleep(60)

    return StreamingResponse(pieces())


@http.post("/goes-on")
async def goes_on(ctx: ActionCtx, request: Request) -> Response:
    """Work that the client does not wait for."""
    await ctx.run_mutation(add, text="began")
    await _until_go(ctx)
    await ctx.run_mutation(add, text="went on")
    return Response("done")


@http.post("/background")
async def background(ctx: ActionCtx, request: Request) -> Response:
    async def later() -> None:
        await ctx.run_mutation(add, text="later")

    return Response("now", background=BackgroundTask(later))


# Webhooks: the signature is over the bytes as they came.

STRIPE_SECRET = "whsec_test_secret"
SVIX_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TWILIO_TOKEN = "twilio_token"


@http.post("/webhooks/stripe")
async def stripe(ctx: ActionCtx, request: Request) -> Response:
    body = await request.body()
    parts = dict(part.split("=", 1) for part in request.headers["stripe-signature"].split(","))
    signed = parts["t"].encode() + b"." + body
    expected = hmac.new(STRIPE_SECRET.encode(), signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, parts["v1"]):
        return Response("bad signature", status_code=400)
    await ctx.run_mutation(add, text=(await request.json())["type"])
    return JSONResponse({"received": True})


@http.post("/webhooks/svix")
async def svix(ctx: ActionCtx, request: Request) -> Response:
    body, headers = await request.body(), request.headers
    signed = f"{headers['svix-id']}.{headers['svix-timestamp']}.".encode() + body
    key = base64.b64decode(SVIX_SECRET.removeprefix("whsec_"))
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = headers["svix-signature"].split(" ")
    if not any(hmac.compare_digest(expected, each) for each in given):
        return Response("bad signature", status_code=401)
    return Response("ok")


@http.post("/twilio/message-status")
async def twilio(ctx: ActionCtx, request: Request) -> Response:
    form = await request.form()
    signed = str(request.url) + "".join(name + str(form[name]) for name in sorted(form))
    digest = hmac.new(TWILIO_TOKEN.encode(), signed.encode(), hashlib.sha1).digest()
    given = request.headers["x-twilio-signature"]
    if not hmac.compare_digest(base64.b64encode(digest).decode(), given):
        return Response("bad signature", status_code=403)
    return Response("<Response></Response>", media_type="application/xml")


http.mount("/api", api)
http.mount("/sockets", socket_app)
