"""A built front end, served beside the API (`--static DIR`)."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from camber.server.headers import PAGE_HEADERS

#: Names that a build makes from content never change what they hold.
_HASHED_FOLDER = "assets"
_FOREVER = "public, max-age=31536000, immutable"


class StaticFiles:
    """Serves the files of a folder; unknown paths give its `index.html`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    async def respond(self, request: Request) -> Response:
        """Answer GET and HEAD of any path that no other route has."""
        path = request.url.path
        if path.startswith("/api/"):
            # A missing route of the API is no page.
            return Response(status_code=404)
        file = self._file(path)
        headers = {**PAGE_HEADERS, "Cache-Control": "no-cache"}
        if file.parent.name == _HASHED_FOLDER:
            headers["Cache-Control"] = _FOREVER
        return FileResponse(file, headers=headers)

    def _file(self, path: str) -> Path:
        page = self._folder / "index.html"
        try:
            file = (self._folder / path.lstrip("/")).resolve()
            is_ours = file.is_relative_to(self._folder) and file.is_file()
        except (OSError, ValueError):
            # No file can have such a name: it is too long, or has a zero byte in it.
            return page
        return file if is_ours else page
