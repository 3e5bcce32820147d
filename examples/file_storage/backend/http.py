"""Images over HTTP: the bytes pass through the handlers, as they come."""

from starlette.responses import JSONResponse, StreamingResponse

from camber import ActionCtx, AppError, HttpRouter, Request, Response

from .messages import IMAGES, discard, send_image

http = HttpRouter()


@http.post("/sendImage")
async def post_image(ctx: ActionCtx, request: Request) -> Response:
    """Send an image, the body, as `?author=`."""
    kind = request.headers.get("content-type", "")
    if kind not in IMAGES:
        return JSONResponse({"error": f"send one of {', '.join(IMAGES)}"}, status_code=415)
    file = await ctx.storage.store(request.stream(), content_type=kind)
    try:
        await ctx.run_mutation(
            send_image, storageId=file, author=request.query_params.get("author", "somebody")
        )
    except AppError:
        await ctx.run_mutation(discard, file)
        raise
    return let_pages_read(ctx, Response(status_code=200))


@http.options("/sendImage")
async def may_post(ctx: ActionCtx, request: Request) -> Response:
    """Say which pages may post, which their browsers ask before they do."""
    answer = Response(
        headers={
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "Content-Type, Digest",
            "Access-Control-Max-Age": "86400",
        }
    )
    return let_pages_read(ctx, answer)


@http.get("/getImage")
async def get_image(ctx: ActionCtx, request: Request) -> Response:
    """Return the image `?storageId=`: here a handler decides who may see it."""
    image = await ctx.storage.get(request.query_params.get("storageId", ""))
    if image is None:
        return Response("Image not found", status_code=404)
    # What somebody has uploaded is shown as what it is called, and runs no scripts.
    headers = {
        "Content-Length": str(image.size),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return StreamingResponse(image, media_type=image.content_type, headers=headers)


def let_pages_read(ctx: ActionCtx, response: Response) -> Response:
    """Let pages of the one origin that may read answers do so."""
    origin = ctx.env.get("CLIENT_ORIGIN")
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Vary"] = "Origin"
    return response
