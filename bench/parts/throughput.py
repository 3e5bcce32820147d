"""Mutations and queries of the chat through the whole runtime, without the network."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from camber.deployment.deployment import Deployment
from camber.deployment.settings import DeploymentSettings, Durability
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall
from camber.values.packed import pack, unpack

_CHAT = Path(__file__).resolve().parents[2] / "examples" / "chat"
_MUTATIONS = 2000
_AT_ONCE = 64


async def _run(durability: Durability) -> None:
    with tempfile.TemporaryDirectory() as data:
        deployment = await Deployment.open(
            DeploymentSettings(
                root=_CHAT, functions="backend", data=Path(data), durability=durability
            )
        )
        await deployment.push()

        def call(path: str, **arguments: object) -> FunctionCall:
            return FunctionCall(
                path=path,
                arguments=pack(arguments),  # type: ignore[arg-type]
                identity=Anonymous(),
                caller=Caller.CLIENT,
                request_id="",
            )

        made = await deployment.runtime.mutation(call("channels:create", name="general"))
        assert made.value is not None
        channel = unpack(made.value)
        left = iter(range(_MUTATIONS))

        async def write() -> None:
            for number in left:
                result = await deployment.runtime.mutation(
                    call("messages:send", channel=channel, author="Ada", body=f"number {number}")
                )
                assert result.failure is None, result.failure

        began = time.perf_counter()
        await asyncio.gather(*(write() for _ in range(_AT_ONCE)))
        seconds = time.perf_counter() - began
        print(
            f"  {durability.name:>6}: {_MUTATIONS / seconds:8.0f} mutations a second, {_AT_ONCE} at once"
        )
        options = {"numItems": 25, "cursor": None}
        page = call("messages:history", channel=channel, paginationOpts=options)
        began = time.perf_counter()
        for _ in range(_MUTATIONS):
            await deployment.runtime.query(page)
        cached = (time.perf_counter() - began) / _MUTATIONS
        ts = deployment.engine.newest_ts
        began = time.perf_counter()
        for _ in range(200):
            await deployment.runtime.executor.query(page, ts)
        run = (time.perf_counter() - began) / 200
        print(
            f"          a page of 25: {run * 1e6:.0f} µs to run, {cached * 1e6:.1f} µs from the cache"
        )
        await deployment.close()


def main() -> None:
    """Measure and print."""
    for durability in Durability:
        asyncio.run(_run(durability))
