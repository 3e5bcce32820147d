"""How commands end: with 0, or with one line that says what is wrong and 1.

2 is typer's, for a command line that cannot be read; 130 is an interrupt.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from camber.cli.console import Console
from camber.errors import CamberError
from camber.functions.loading import LoadError
from camber.releases.failures import PushFailed

_FAILED = 1
_INTERRUPTED = 130


@contextmanager
def reporting(console: Console) -> Iterator[None]:
    """Tell what is a person's or a server's mistake, without a traceback, and end with 1.

    A bug of ours is neither: it passes, with its traceback.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except LoadError as error:
        console.complain(f"{error}\n{error.trace.rstrip()}".rstrip())
    except PushFailed as error:
        console.complain(str(error))
    except CamberError as error:
        console.complain(error.sentence)
    except BrokenPipeError:
        # Whoever read our output has enough: `camber status | head`. Nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # A disk, a file, a port: `[Errno 13] Permission denied: '/data'` says what and where.
        console.complain(str(error))
    else:
        return
    raise typer.Exit(_FAILED)
