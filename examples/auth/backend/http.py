"""The routes that providers send browsers back to, and the keys of tokens."""

from camber import HttpRouter

from .auth import auth

http = HttpRouter()
auth.add_http_routes(http)
