"""An executor process as the server holds it."""

from __future__ import annotations

import asyncio

from camber.functions.analysis import Analysis
from camber.runtime import frames
from camber.runtime.processes import ExecutorProcess, Output
from camber.runtime.program import Role


class _Heard:
    def __init__(self):
        self.messages = []

    def received(self, process, message):
        self.messages.append(message)

    def lost(self, process):
        self.messages.append("lost")


def _body(message):
    (body,) = frames.FrameBuffer().feed(frames.frame(message))
    return body


def test_a_report_that_overtakes_is_not_what_a_process_says_first():
    """Reports on the event loop of actions have a socket of their own: whoever started the process waited for ever."""

    async def main():
        heard = _Heard()
        process = ExecutorProcess(role=Role.ACTIONS, listener=heard, output=Output.WHOLE)
        report = frames.LoopStatus(still_s=0.0, path=None, where=None)
        loaded = frames.Loaded(analysis=Analysis(functions={}, tables={}))
        for message in (report, loaded, report):
            process._received(_body(message))
        assert await process.first == loaded
        assert heard.messages == [report]

    asyncio.run(main())
