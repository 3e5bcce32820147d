"""What a process costs: the chat's functions in the server, and in executors of its own."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from camber.deployment.deployment import Deployment
from camber.deployment.settings import DeploymentSettings
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall
from camber.values.packed import pack, unpack

_CHAT = Path(__file__).resolve().parents[2] / "examples" / "chat"
_AT_ONCE = 64
_ROUNDS = 5
_CALLS = 400


@dataclass(frozen=True)
class _Bench:
    deployment: Deployment
    channel: object

    async def send(self) -> None:
        result = await self.deployment.runtime.mutation(
            _call("messages:send", channel=self.channel, author="Ada", body="hello")
        )
        assert result.failure is None, result.failure

    async def page(self) -> None:
        call = _call(
            "messages:history",
            channel=self.channel,
            paginationOpts={"numItems": 25, "cursor": None},
        )
        # Past the cache, which is the same for both.
        executed = await self.deployment.runtime.executor.query(
            call, self.deployment.engine.newest_ts
        )
        assert executed.result.failure is None, executed.result.failure

    async def nothing(self) -> None:
        call = _call("channels:list")
        await self.deployment.runtime.executor.query(call, self.deployment.engine.newest_ts)


def _call(path: str, **arguments: object) -> FunctionCall:
    return FunctionCall(
        path=path,
        arguments=pack(arguments),  # type: ignore[arg-type]
        identity=Anonymous(),
        caller=Caller.CLIENT,
        request_id="",
    )


async def _open(data: Path, executors: int) -> _Bench:
    deployment = await Deployment.open(
        DeploymentSettings(root=_CHAT, functions="backend", data=data, executors=executors)
    )
    await deployment.push()
    made = await deployment.runtime.mutation(_call("channels:create", name="general"))
    assert made.value is not None
    bench = _Bench(deployment, unpack(made.value))
    for _ in range(_AT_ONCE):
        await bench.send()
    return bench


async def _seconds(run: Callable[[], Awaitable[None]], at_once: int) -> float:
    left = iter(range(_CALLS))

    async def work() -> None:
        for _ in left:
            await run()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return (time.perf_counter() - began) / _CALLS


async def _compare() -> None:
    counts = (0, 1, 2)
    with tempfile.TemporaryDirectory() as folder:
        benches = {n: await _open(Path(folder) / str(n), n) for n in counts}
        print("  µs a call, median of rounds taken in turn; in brackets, against no executors")
        for name in ("nothing", "page", "send"):
            for at_once in (1, _AT_ONCE):
                found: dict[int, list[float]] = {n: [] for n in counts}
                for _ in range(_ROUNDS):
                    for n in counts:
                        found[n].append(await _seconds(getattr(benches[n], name), at_once))
                base = statistics.median(found[0])
                shown = "   ".join(
                    f"{n}: {statistics.median(found[n]) * 1e6:6.0f} "
                    f"({statistics.median(found[n]) / base:.2f})"
                    for n in counts
                )
                print(f"  {name:>8}, {at_once:2} at once   {shown}")
        for bench in benches.values():
            await bench.deployment.close()


def main() -> None:
    """Measure and print."""
    asyncio.run(_compare())
