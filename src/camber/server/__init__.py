"""The network: HTTP, WebSockets, static files, and the processes that serve them."""
