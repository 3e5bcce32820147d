"""What must be true after a run, judged by what is durable and by what clients have been told.

The commits on the disk are replayed in their order on the model of `operations`, which shares no
code with the engine: each has to do to the documents what its operation does to the model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from camber.engine import system_tables
from camber.storage.store import Commit
from camber.values.packed import unpack
from tests.simulation.clients import Client, Request, Seen
from tests.simulation.http_clients import HttpClient
from tests.simulation.operations import MUTATIONS, QUERIES, Model, Query, state_of


def verdicts(
    commits: Sequence[Commit], clients: Sequence[Client], over_http: Sequence[HttpClient]
) -> Iterator[str]:
    """Yield everything that is wrong."""
    everybody: list[Client | HttpClient] = [*clients, *over_http]
    for each in everybody:
        yield from each.breaches
    history = _History()
    seen = sorted((shown for each in everybody for shown in each.seen), key=lambda each: each.ts)
    position = 0
    newest = 0
    for commit in commits:
        if commit.ts <= newest:
            yield f"commit {commit.ts} comes after {newest}"
        newest = commit.ts
        while position < len(seen) and seen[position].ts < commit.ts:
            yield from _seen(seen[position], history.model)
            position += 1
        yield from history.take_in(commit)
    for shown in seen[position:]:
        yield from _seen(shown, history.model)
    for what in history.model.awaited:
        yield f"{what}, and has not run"
    for once in over_http:
        yield from _tried(once, history)
    for client in clients:
        yield from _kept(client, history)
        yield from _converged(client, history.model)


class _History:
    """All documents, and the model, after some commits."""

    def __init__(self) -> None:
        self.model = Model()
        self._names: dict[int, str] = {}
        self._documents: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        #: When each request was done, and what its function returned.
        self.done: dict[tuple[str, int], tuple[int, Any]] = {}

    def take_in(self, commit: Commit) -> Iterator[str]:
        """Replay a commit; yield what is wrong with it."""
        noted: list[dict[str, Any]] = []
        for change in commit.changes:
            document: Any = None if change.after is None else unpack(change.after)
            if change.table == system_tables.TABLES_NUMBER and document is not None:
                self._names[document["number"]] = document["name"]
        for change in commit.changes:
            name = self._names.get(change.table)
            if name is None:
                continue
            document = None if change.after is None else unpack(change.after)
            if document is None:
                if self._documents[name].pop(change.id, None) is None:
                    yield f"commit {commit.ts} removes {change.id}, which is not there"
            else:
                self._documents[name][change.id] = document
            if name == "done":
                noted.append(document)
        for note in noted:
            yield from self._operation(commit.ts, note)
        if len(noted) > 1:
            yield f"commit {commit.ts} does {len(noted)} operations"
        try:
            stored = state_of({name: list(each.values()) for name, each in self._documents.items()})
        except AssertionError as error:
            yield f"commit {commit.ts} ({noted}): {error}"
            raise _Diverged from None
        if stored != self.model.state:
            yield f"commit {commit.ts} ({noted}) leaves {stored}, and should {self.model.state}"
            # Told once: from here on all is wrong.
            raise _Diverged

    def _operation(self, ts: int, note: dict[str, Any]) -> Iterator[str]:
        key = (note["client"], note["request"])
        if note["at"] != ts:
            yield f"request {key} is done at {ts}, and says that it was at {note['at']}"
        if key in self.done:
            yield f"request {key} is done at {self.done[key][0]} and again at {ts}"
        mutation = MUTATIONS[note["operation"]]
        if mutation.always_fails:
            yield f"request {key} failed, and has committed at {ts}"
            return
        try:
            self.done[key] = (ts, mutation.apply(self.model, note["arguments"]))
        except KeyError as missing:
            yield f"request {key} ran at {ts}, and {missing} was called off, has run or never was"
            raise _Diverged from None


class _Diverged(Exception):  # caught below: the rest would repeat it
    """What is stored is not what should be."""


def judged(
    commits: Sequence[Commit],
    clients: Sequence[Client],
    over_http: Sequence[HttpClient],
    most: int = 20,
) -> list[str]:
    """Return what is wrong, the first few things."""
    found: list[str] = []
    try:
        for verdict in verdicts(commits, clients, over_http):
            found.append(verdict)
            if len(found) == most:
                break
    except _Diverged:
        pass
    return found


def _seen(seen: Seen, model: Model) -> Iterator[str]:
    query = QUERIES[seen.name]
    expected = query.answer(model, seen.arguments)
    if not _was_lost(seen.value) and not _fits(query, seen.value, expected):
        yield (
            f"at {seen.ts} {seen.name}({seen.arguments}) was shown as {seen.value}, and is {expected}"
        )


def _kept(client: Client, history: _History) -> Iterator[str]:
    for request in client.requests:
        key = (client.name, request.number)
        done = history.done.get(key)
        answer = request.answer
        if answer is None:
            yield f"{key} ({request.name}) was never answered"
        elif answer["success"]:
            yield from _acknowledged(key, request, done)
        elif request.name != "fail" and "errorData" in answer:
            yield f"{key} ({request.name}) failed: {answer}"
        elif done is not None and request.frames == 1:
            yield f"{key} ({request.name}) was answered as failed, and is done at {done[0]}"


def _acknowledged(
    key: tuple[str, int], request: Request, done: tuple[int, Any] | None
) -> Iterator[str]:
    assert request.answer is not None
    if done is None:
        yield f"{key} ({request.name}) was acknowledged at {request.ts}, and is lost"
    elif done != (request.ts, request.answer["result"]):
        result = request.answer["result"]
        yield f"{key} ({request.name}) was answered {result} at {request.ts}, and is {done}"


def _fits(query: Query, value: Any, expected: Any) -> bool:
    # A query that has failed shows a tuple, which nothing that is right does.
    return not isinstance(value, tuple) and query.fits(value, expected)


def _tried(client: HttpClient, history: _History) -> Iterator[str]:
    for tried in client.tried:
        done = history.done.get((client.name, tried.number))
        if tried.has_succeeded and (done is None or done[1] != tried.value):
            yield f"{client.name} {tried} was acknowledged, and is {done}"
    for ts, acknowledged in client.told:
        done = history.done.get((client.name, acknowledged))
        if done is not None and ts < done[0]:
            yield f"{client.name} was told {ts} as the newest after {acknowledged} at {done[0]}"


def _converged(client: Client, model: Model) -> Iterator[str]:
    if client.shown.keys() != client.wanted.keys():
        yield f"in the end {client.name} shows {client.shown.keys()}, and wants {client.wanted}"
    for query_id, shown in client.shown.items():
        name, arguments = client.wanted.get(query_id, (None, {}))
        if name is None or _was_lost(shown):
            continue
        expected = QUERIES[name].answer(model, arguments)
        if not _fits(QUERIES[name], shown, expected):
            yield f"in the end {client.name} shows {name}({arguments}) as {shown}, and it is {expected}"


def _was_lost(value: Any) -> bool:
    """Return whether a query could not be run: its process was ended, or stood still for long.

    That is what its client is told until a push (decision 0013), or until it asks anew.
    """
    if not isinstance(value, tuple):
        return False
    _, message, data = value
    return data is None and ("TransactionLost" in message or "UserTimeout" in message)
