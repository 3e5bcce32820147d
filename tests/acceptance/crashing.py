"""The process that `test_crashes` kills: clients that write as fast as they can.

Each client sends mutations numbered from its first unacknowledged one, several at once, and says
on standard output which are acknowledged.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from camber.deployment.deployment import Deployment
from camber.deployment.settings import DeploymentSettings
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall, SessionRequest
from camber.values.packed import pack
from tests.servers import KITCHEN

CLIENTS = 4


def settings(data: Path) -> DeploymentSettings:
    return DeploymentSettings(root=KITCHEN, functions="backend", data=data)


async def main(data: Path, firsts: list[int]) -> None:
    deployment = await Deployment.open(settings(data))
    await deployment.push()
    print("ready", flush=True)
    await asyncio.gather(
        *(write(deployment, client, number) for client, number in enumerate(firsts))
    )


async def write(deployment: Deployment, client: int, number: int) -> None:
    while True:
        result = await deployment.runtime.mutation(
            FunctionCall(
                path="notes:add_pair",
                arguments=pack({"board": f"client {client}", "rank": number}),
                identity=Anonymous(),
                caller=Caller.CLIENT,
                request_id="0" * 16,
            ),
            session=SessionRequest(session=f"session {client}", request=number),
        )
        assert result.failure is None, result.failure
        print(f"done {client} {number} {result.ts}", flush=True)
        number += 1


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), [int(number) for number in sys.argv[2:]]))
