"""Running `camber` within the test: a process for each would take most of the time."""

from __future__ import annotations

from typer.testing import CliRunner

from camber.cli.main import app


class Done:
    """How a command ended."""

    def __init__(self, result):
        self.returncode = result.exit_code
        self.stdout = result.stdout
        self.stderr = result.stderr
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception


def camber(*arguments, stdin="", **environment):
    return Done(CliRunner().invoke(app, [*map(str, arguments)], input=stdin, env=environment))


def told(done):
    """Return what a command said that could not do what was asked: a line, and status 1."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    return done.stderr


def said(done):
    assert done.returncode == 0, done.stderr
    return done.stdout
