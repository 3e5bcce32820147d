import asyncio
import os
from dataclasses import replace

import pytest

from camber.host import RealHost
from camber.runtime.program import Role, Spare, executor_program


def run(main):
    asyncio.run(main())


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_spare_is_for_one_who_would_start_just_the_same():
    async def main():
        spare = await Spare.start(RealHost())
        program = executor_program()
        other = replace(program, environment={**program.environment, "MORE": "1"})
        assert spare.taken(other, Role.TRANSACTIONS) is None
        assert spare.taken(executor_program("/other/python"), Role.TRANSACTIONS) is None
        assert spare.taken(program, Role.ACTIONS) is None
        started = spare.taken(program, Role.TRANSACTIONS)
        assert started is not None
        assert spare.taken(program, Role.TRANSACTIONS) is None
        # It is theirs now.
        await spare.end()
        assert not is_gone(started.process.pid)
        started.process.kill()
        for each in started.sockets:
            each.close()
        await started.process.wait()

    run(main)


def test_a_spare_that_nobody_takes_ends():
    async def main():
        spare = await Spare.start(RealHost())
        started = spare._started
        assert started is not None
        await spare.end()
        assert is_gone(started.process.pid)

    run(main)


@pytest.mark.parametrize("variable", ["CAMBER_ADMIN_KEY", "CAMBER_DEPLOY_KEY"])
def test_executors_do_not_see_the_keys_of_the_server(variable, monkeypatch):
    monkeypatch.setenv(variable, "secret")
    monkeypatch.setenv("OPEN", "to all")
    environment = executor_program().environment
    assert variable not in environment
    assert environment["OPEN"] == "to all"
