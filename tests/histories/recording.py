"""Clients that append to lists and read them over the network, and note what they were answered."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from tests.acceptance.sockets import raw_client
from tests.histories.anomalies import Append, Done, Read

#: Lists at any one time: few, so that transactions meet. A list that is this long is left alone.
_LISTS = 4
_LENGTH = 25


@dataclass
class Recorder:
    """A history under way. Its clock is the test's own; nothing that a server says is used."""

    server: Any
    seed: int
    history: list[Done] = field(default_factory=list)
    _values: Iterator[int] = field(default_factory=itertools.count)

    def record(self, *, mutators: int, readers: int, transactions: int) -> list[Done]:
        """Let clients work at once, each on a thread of its own; then read every list once more."""
        work = [self._over_a_socket] * mutators + [self._over_http] * readers
        failures: list[BaseException] = []

        def run(number: int, work: Callable[[str, Random, int], None]) -> None:
            try:
                work(f"client {number}", Random(f"{self.seed} {number}"), transactions)
            except BaseException as failure:
                failures.append(failure)
                raise

        threads = [
            threading.Thread(target=run, args=(number, each)) for number, each in enumerate(work)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        keys = sorted({op.key for each in self.history for op in each.operations})
        with httpx.Client(timeout=60) as http:
            for key in keys:
                self._look(http, f"the end of {key}", [key])
        return self.history

    def _over_a_socket(self, name: str, dice: Random, transactions: int) -> None:
        with raw_client(self.server) as client:
            client.connect()
            for number in range(transactions):
                operations = self._operations(dice, number)
                asked = time.monotonic()
                client.mutate(number, "lists:transact", {"operations": operations})
                client.until(lambda number=number: number in client.responses)
                answered = time.monotonic()
                response = client.responses[number]
                assert response["success"], response
                self._note(f"{name}, {number}", operations, response["result"], asked, answered)

    def _over_http(self, name: str, dice: Random, transactions: int) -> None:
        """Half queries, half mutations, which are not sent again: one that loses has not been."""
        with httpx.Client(timeout=60) as http:
            for number in range(transactions):
                if dice.random() < 0.5:
                    keys = sorted({self._key(dice, number) for _ in range(3)})
                    self._look(http, f"{name}, {number}", keys)
                    continue
                operations = self._operations(dice, number)
                asked = time.monotonic()
                answer = self._post(http, "mutation", "lists:transact", {"operations": operations})
                answered = time.monotonic()
                read = answer["value"] if answer is not None else None
                self._note(f"{name}, {number}", operations, read, asked, answered)

    def _look(self, http: httpx.Client, name: str, keys: list[str]) -> None:
        asked = time.monotonic()
        answer = self._post(http, "query", "lists:look", {"keys": keys})
        assert answer is not None
        reads = [{"key": key} for key in keys]
        self._note(name, reads, answer["value"], asked, time.monotonic())

    def _post(self, http: httpx.Client, kind: str, path: str, args: Any) -> Any:
        body = {"path": path, "args": args, "format": "json"}
        response = http.post(f"{self.server.url}/api/{kind}", json=body)
        if response.status_code == 503 and "OptimisticConcurrency" in response.text:
            return None
        assert response.status_code == 200, response.text
        answer = response.json()
        assert answer["status"] == "success", answer
        return answer

    def _key(self, dice: Random, number: int) -> str:
        return f"{number // _LENGTH} {dice.randrange(_LISTS)}"

    def _operations(self, dice: Random, number: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for _ in range(dice.randint(1, 4)):
            operation: dict[str, Any] = {"key": self._key(dice, number)}
            if dice.random() < 0.5:
                operation["value"] = next(self._values)
            found.append(operation)
        return found

    def _note(
        self,
        name: str,
        told: list[dict[str, Any]],
        read: list[Any] | None,
        asked: float,
        answered: float,
    ) -> None:
        operations: list[Append | Read] = []
        reads = iter(read or [])
        for each in told:
            if "value" in each:
                operations.append(Append(key=each["key"], value=each["value"]))
            elif read is not None:
                values = tuple(int(value) for value in next(reads))
                operations.append(Read(key=each["key"], values=values))
        self.history.append(
            Done(
                name=name,
                operations=tuple(operations),
                asked=asked,
                answered=answered,
                outcome="failed" if read is None else "committed",
            )
        )
