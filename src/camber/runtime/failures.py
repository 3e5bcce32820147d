"""What a failed function tells its caller (protocol 5.4).

    [Request ID: 0c1d2e3f4a5b6c7d] Server Error
    Uncaught ValueError: the message
        at backend/messages.py:12 in send

With redaction only the first line leaves the server, without its line break; the data of an
`AppError` always does. What was raised by user code is `Uncaught`; what Camber refused before or
after it is not.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Final

from camber.errors import (
    AppError,
    CamberError,
    FunctionError,
    FunctionNotFound,
    Interrupted,
    InvalidFunctionCall,
)
from camber.functions.determinism.user_code import is_user_module
from camber.functions.elsewhere import where_it_is
from camber.runtime.results import Failure
from camber.values.packed import pack
from camber.values.value import InvalidValue, Value, canonical
from camber.values.wire import encode_value

#: Equal frames in a row that are told.
_SAME_FRAMES_MAX: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureTexts:
    """How errors are told. `redact` hides messages, frames and log lines from callers."""

    redact: bool
    #: The application's root; only frames of files below it are shown, relative to it.
    root: Path | None = None
    #: Where releases are kept, each in a folder of its own that is the application's root.
    kept: Path | None = None

    @property
    def unredacted(self) -> FailureTexts:
        """Return the texts for whoever operates the server."""
        return replace(self, redact=False)

    def refused(self, error: CamberError, request_id: str) -> Failure:
        """Return the failure of a call that did not run, or whose result was refused."""
        is_plain = isinstance(error, FunctionNotFound | InvalidFunctionCall)
        headline = error.sentence if is_plain else str(error)
        return self._failure(request_id, headline, (), None)

    def thrown(self, error: BaseException, request_id: str) -> Failure:
        """Return the failure of a call whose function raised."""
        headline, data = _headline(error)
        return self._failure(request_id, f"Uncaught {headline}", self._frames(error), data)

    def log_lines(self, lines: Iterable[str]) -> tuple[str, ...]:
        """Return the log lines that the caller may see."""
        return () if self.redact else tuple(lines)

    def _failure(
        self, request_id: str, headline: str, frames: Iterable[str], data: bytes | None
    ) -> Failure:
        first = f"[Request ID: {request_id}] Server Error"
        frames = tuple(_shortened(frames))
        # Text of the system's, such as a file's name, may hold what no encoding has.
        headline = headline.encode("utf-8", "backslashreplace").decode()
        message = first
        if not self.redact:
            lines = [first, headline, *(f"    at {frame}" for frame in frames)]
            message = "\n".join(lines) + "\n"
        return Failure(message=message, data=data, headline=headline, frames=frames)

    def _frames(self, error: BaseException) -> list[str]:
        elsewhere = error.frames if isinstance(error, AppError | FunctionError) else ()
        here = [
            f"{place}:{line} in {frame.f_code.co_name}"
            for frame, line in traceback.walk_tb(error.__traceback__)
            if (place := self._place(frame)) is not None
        ]
        return [*elsewhere, *reversed(here)]

    def _place(self, frame: FrameType) -> str | None:
        return self.place(frame.f_code.co_filename, frame.f_globals.get("__name__"))

    def place(self, filename: str, module: object) -> str | None:
        """Return the path of an application's file below its root, or of an installed component's.

        None for any other file.
        """
        if self.kept is not None and filename.startswith(f"{self.kept}/"):
            _, *below = Path(filename).relative_to(self.kept).parts
            return "/".join(below)
        if self.root is not None and filename.startswith(f"{self.root}/"):
            return Path(filename).relative_to(self.root).as_posix()
        if is_user_module(module):
            # Installed: by the name under which it is imported, wherever that is on this machine.
            assert isinstance(module, str)
            parts = module.count(".") + (2 if Path(filename).name == "__init__.py" else 1)
            return "/".join(Path(filename).parts[-parts:])
        return None


def _shortened(frames: Iterable[str]) -> Iterator[str]:
    """Yield frames; of equal ones in a row, which recursion makes, a few and how many there were."""
    for frame, same in groupby(frames):
        count = len(list(same))
        yield from [frame] * min(count, _SAME_FRAMES_MAX)
        if count > _SAME_FRAMES_MAX:
            yield f"... the same {count - _SAME_FRAMES_MAX} more times"


def _headline(error: BaseException) -> tuple[str, bytes | None]:
    """Return the line that names the error, and its packed data if it has any."""
    if isinstance(error, AppError):
        try:
            data: Value = canonical(error.data)
            packed = pack(data)
        except InvalidValue as invalid:
            # The application's mistake; told in place of what it wanted to say.
            return f"Error: the data of an AppError must be storable: {invalid.sentence}", None
        text = data if isinstance(data, str) else encode_value(data).decode()
        return f"ConvexError: {text}", packed
    if isinstance(error, CamberError | Interrupted):
        return f"Error: {error}", None
    name = "Error" if type(error) is Exception else type(error).__name__
    return f"{name}: {where_it_is(error) or error}", None
