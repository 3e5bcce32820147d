"""What is answered on the site port. Handlers check what they are sent: nobody else does."""

import msgspec
from starlette.responses import JSONResponse

from camber import ActionCtx, HttpRouter, Request, Response

from .messages import by_author, send_one

http = HttpRouter()


class Post(msgspec.Struct):
    author: str
    body: str


def let_client_read(ctx: ActionCtx, response: Response) -> Response:
    """Let pages of the one origin that may read answers do so."""
    origin = ctx.env.get("CLIENT_ORIGIN")
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Vary"] = "Origin"
    return response


@http.post("/postMessage")
async def post_message(ctx: ActionCtx, request: Request) -> Response:
    """Send a message: `{"author": …, "body": …}`."""
    try:
        post = msgspec.json.decode(await request.body(), type=Post)
    except msgspec.DecodeError as error:
        return let_client_read(ctx, JSONResponse({"error": str(error)}, status_code=400))
    await ctx.run_mutation(send_one, author=post.author, body=post.body)
    return let_client_read(ctx, Response(status_code=200))


@http.options("/postMessage")
async def may_post(ctx: ActionCtx, request: Request) -> Response:
    """Say which pages may post, which their browsers ask before they do."""
    asked = {"origin", "access-control-request-method", "access-control-request-headers"}
    if not asked <= set(request.headers.keys()):
        return Response()
    answer = Response(
        headers={
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "Content-Type, Digest",
            "Access-Control-Max-Age": "86400",
        }
    )
    return let_client_read(ctx, answer)


@http.get("/getMessagesByAuthor")
async def messages_by_author(ctx: ActionCtx, request: Request) -> Response:
    """Return the messages of `?author=`, or of the header `Author`."""
    author = request.query_params.get("author") or request.headers.get("author")
    if author is None:
        return JSONResponse({"error": "name an author"}, status_code=400)
    return await _messages_of(ctx, author)


@http.get("/getAuthorMessages/{author}")
async def author_messages(ctx: ActionCtx, request: Request) -> Response:
    """Return the messages of one author."""
    return await _messages_of(ctx, request.path_params["author"])


async def _messages_of(ctx: ActionCtx, author: str) -> Response:
    messages = await ctx.run_query(by_author, author=author)
    return let_client_read(ctx, JSONResponse([message.to_dict() for message in messages]))
