"""A whole deployment that stands still until it is told to go on: runtime, executor, engine, store.

Its functions run programs. Whoever calls them is an actor: it says what it could do next, and the
seed chooses among all actors and the threads of the deployment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from camber.deployment.deployment import Deployment
from camber.deployment.instance import temporary_instance
from camber.deployment.settings import DeploymentSettings
from camber.engine.system_tables import SESSION_REQUESTS
from camber.errors import RequestError, WriteConflict
from camber.files.memory import MemoryBlobs
from camber.identity.identity import Anonymous, Identity, User, UserIdentity
from camber.runtime.executor import Caller, FunctionCall, SessionRequest
from camber.runtime.release import InProcessRelease
from camber.storage.store import Commit, Store
from camber.values.packed import pack, unpack
from camber.values.value import canonical
from tests.identity import issuing
from tests.proofs.judging import Attempt, Judge, Program
from tests.proofs.places import handles_of, project
from tests.proofs.plain import Big, plain, same
from tests.proofs.serial import application
from tests.proofs.stepping import ChoosingHost, SteppedHost, settled

#: Turns of the loop within which something that is on its way shows itself.
_PATIENCE = 20
#: More steps than any history of a few clients takes.
_STEPS_MAX = 20_000


#: Who signs the tokens of users, as the proving application trusts it: with a number that is no secret.
ISSUER = "https://proofs.example.com"
_KEY = issuing.Key("proofs", ec.derive_private_key(52, ec.SECP256R1()))

#: A session, and the number of a request in it.
Request = tuple[str, int]


class Actor(Protocol):
    """Somebody who does one thing after another."""

    @property
    def possible(self) -> list[Callable[[], None]]:
        """Return what it may do next; nothing while it waits, or when it is done."""

    @property
    def is_answered(self) -> bool:
        """Return whether it has done all it wanted to, and has heard of all that it did."""


@dataclass
class Serving:
    """A deployment under proof, and what was published and answered."""

    deployment: Deployment
    host: ChoosingHost
    first_ts: int
    #: The request that each commit has recorded, if it has, by timestamp.
    commits: dict[int, Request | None] = field(default_factory=dict)
    answered: list[Answer] = field(default_factory=list)
    #: The sessions of clients that watch.
    sessions: list[str] = field(default_factory=list)
    #: The ids of all documents that were ever committed.
    ids: list[str] = field(default_factory=list)

    def call(self, program: Program, ids: list[str], who: str | None) -> FunctionCall:
        """Return the call that runs a program."""
        path = "programs:write" if program.writes else "programs:read"
        return FunctionCall(
            path="programs:write_and_fail" if program.raises else path,
            arguments=pack(canonical(self.arguments(program, ids))),
            identity=identity_of(who),
            caller=Caller.CLIENT,
            request_id="0" * 16,
        )

    def arguments(self, program: Program, ids: list[str]) -> dict[str, Any]:
        """Return what the function is told that runs a program."""
        handles = handles_of(self.deployment.handles)
        return {"steps": program.steps, "ids": ids, "pages": [], "handles": handles}

    async def run(self, actors: Iterable[Actor]) -> None:
        """Let actors and threads take their steps until nobody wants anything more."""
        idle, steps, actors = 0, 0, list(actors)
        while idle < _PATIENCE:
            steps += 1
            assert steps < _STEPS_MAX, "it goes round and round"
            possible = [step for actor in actors for step in actor.possible] + self.host.possible
            if possible:
                self.host.choose(possible)()
            idle = 0 if possible else idle + 1
            await settled()
        assert all(actor.is_answered for actor in actors), "somebody waits for ever"

    def heard(self, commits: Iterable[Commit]) -> None:
        for commit in commits:
            assert commit.ts > self.newest_ts, "published out of order"
            self.commits[commit.ts] = None
            for change in commit.changes:
                document = None if change.after is None else unpack(change.after)
                if not isinstance(document, dict):
                    continue
                # User documents are told from the system's by the table's name.
                table = self.deployment.engine.catalog.name(change.table) or "_"
                if table == SESSION_REQUESTS:
                    request: Any = document["request"]
                    self.commits[commit.ts] = (str(document["session"]), int(request))
                elif not table.startswith("_") and document["_id"] not in self.ids:
                    self.ids.append(str(document["_id"]))

    @property
    def newest_ts(self) -> int:
        """Return the newest timestamp that was published."""
        return max(self.commits, default=self.first_ts)

    def judged(self) -> Judge:
        """Replay all that has committed, in order; return the judge, who knows every state."""
        judge = Judge(self.first_ts)
        committed: dict[int, Answer] = {}
        for answer in self.answered:
            if answer.is_commit and self.commits.get(answer.ts, ...) == answer.request:
                first = committed.setdefault(answer.ts, answer)
                # One without a request may have changed nothing, and have seen that commit.
                assert answer.request is None or same(answer.attempt.seen, first.attempt.seen)
        assert set(committed) == set(self.commits), "a commit that nobody was told of"
        for ts, answer in sorted(committed.items()):
            after = judge.replay(answer.attempt, judge.newest, told=Big(ts), scored=judge.until(ts))
            judge.committed(ts, after)
        for answer in self.answered:
            if answer.failed_between is not None:
                moments = judge.between(*answer.failed_between)
                assert any(
                    judge.explains(answer.attempt, judge.at(ts), told="now", scored=judge.until(ts))
                    for ts in moments
                ), f"no moment explains what {answer.attempt} has seen"
            elif answer.request is not None:
                assert self.commits.get(answer.ts) == answer.request, "told of another's commit"
            elif committed.get(answer.ts) is not answer:
                state = judge.at(answer.ts)
                left = judge.replay(
                    answer.attempt, state, told=Big(answer.ts), scored=judge.until(answer.ts)
                )
                assert same(left, state), "changes that nobody ever saw"
        return judge


def identity_of(who: str | None) -> Identity:
    if who is None:
        return Anonymous()
    return User(UserIdentity(token_identifier=f"{ISSUER}|{who}", subject=who, issuer=ISSUER))


@cache
def token_of(who: str) -> str:
    """Return a token of a user's, which the proving application trusts."""
    claims = issuing.claims(iss=ISSUER, sub=who, iat=1_700_000_000, exp=4_000_000_000)
    return issuing.token(_KEY, claims)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a call: it has seen the moment `ts`, or committed at it.

    One that has failed on purpose has seen a moment between two.
    """

    attempt: Attempt
    ts: int
    request: Request | None = None
    failed_between: tuple[int, int] | None = None

    @property
    def is_commit(self) -> bool:
        """Return whether it has committed, if only what has changed nothing."""
        return self.attempt.program.writes and self.failed_between is None


@dataclass
class Client:
    """A client that runs programs one after another, each until it is answered.

    `session` makes it one whose mutations are done once: it sends some twice.
    """

    serving: Serving
    programs: list[Program]
    session: str | None
    _running: asyncio.Task[None] | None = None
    _at: int = 0

    @property
    def possible(self) -> list[Callable[[], None]]:
        if self._running is not None and not self._running.done():
            return []
        if self._running is not None:
            self._running.result()
        return [self._start] if self._at < len(self.programs) else []

    @property
    def is_answered(self) -> bool:
        is_running = self._running is not None and not self._running.done()
        return self._at == len(self.programs) and not is_running

    def _start(self) -> None:
        program = self.programs[self._at]
        self._at += 1
        run = self._write if program.writes else self._read
        self._running = asyncio.ensure_future(run(program, self._at))

    async def _read(self, program: Program, request: int) -> None:
        serving = self.serving
        # Queries are equal, and share results, only if they know the same.
        ids = serving.ids[:3]
        timestamps = [serving.first_ts, *serving.commits]
        ts = timestamps[max(0, len(timestamps) - 1 - program.age)]
        call = serving.call(program, ids, program.who)
        result = await serving.deployment.runtime.query(call, ts=ts)
        assert result.failure is None, result.failure
        assert result.packed is not None
        assert result.holds_at(ts)
        self._answered(program, ids, ts, unpack(result.packed))

    async def _write(self, program: Program, request: int) -> None:
        serving, runtime = self.serving, self.serving.deployment.runtime
        ids = list(serving.ids)
        call = serving.call(program, ids, program.who)
        session = None
        if self.session is not None:
            session = SessionRequest(session=self.session, request=request)
        before = runtime.newest_ts
        while True:
            copies = 1 if session is None else 2
            results = await asyncio.gather(
                *(runtime.mutation(call, session=session) for _ in range(copies)),
                return_exceptions=True,
            )
            done = [each for each in results if not isinstance(each, BaseException)]
            for each in results:
                assert not isinstance(each, BaseException) or isinstance(each, RequestError), each
            if done or session is None:
                break
        for result in done:
            if result.failure is not None:
                assert program.raises, result.failure
                assert result.failure.data is not None, result.failure
                data: Any = unpack(result.failure.data)
                self._answered(
                    program, ids, 0, data["seen"], failed_between=(before, runtime.newest_ts)
                )
                continue
            assert not program.raises
            assert result.value is not None
            assert result.ts is not None
            # Visible to whoever begins now.
            assert result.ts <= runtime.newest_ts
            made = None if session is None else (session.session, session.request)
            self._answered(program, ids, result.ts, unpack(result.value), request=made)
        for error in results:
            assert (
                session is not None
                or not isinstance(error, RequestError)
                or isinstance(error, WriteConflict)
            ), error

    def _answered(self, program: Program, ids: list[str], ts: int, seen: Any, **more: Any) -> None:
        attempt = Attempt(
            source=f"a call at {ts}",
            program=program,
            begin_ts=0,
            ids=ids,
            pages=[],
            ids_known=[],
            pages_known=[],
            seen=plain(seen),
        )
        self.serving.answered.append(Answer(attempt=attempt, ts=ts, **more))


@asynccontextmanager
async def served(store: Store, folder: Path, host: SteppedHost):
    """A deployment of the proving application on a store."""
    settings = DeploymentSettings(root=project(), functions="backend", data=folder)
    deployment = Deployment(
        settings=settings,
        host=host,
        store=store,
        instance=temporary_instance("proofs", host),
        blobs=MemoryBlobs(),
    )
    try:
        await deployment.pushes.open()
        await deployment.push_release(InProcessRelease(application()))
        serving = Serving(deployment, host, deployment.engine.newest_ts)
        deployment.engine.on_publish(serving.heard)
        yield serving
    finally:
        host.free()
        await deployment.close()
