"""The world around a session: a database of numbers, queries over it, and a shell that is slow.

The oracle of the state machine's tests: what a query's result is at a timestamp is looked up in a
list of all states, so a Transition that lies about its timestamp is caught.
"""

from __future__ import annotations

import json
from typing import Any

from camber.sync.effects import (
    Adopt,
    Close,
    Note,
    Push,
    RunAction,
    RunMutation,
    RunQuery,
    Send,
    Unwatch,
    Verify,
)
from camber.sync.frames import text_of as message_of
from camber.sync.moment import Moment
from camber.sync.session import Session
from camber.values.packed import unpack
from tests.sync.client import Books, text_of, ts_of


def name_of(call) -> str:
    arguments: Any = unpack(call.arguments)
    return str(arguments["name"])


class Result:
    """A query's result with its validity, as `runtime` has them."""

    def __init__(self, world, name, ts, who):
        self.ts = ts
        self.valid_until = None
        self.journal = None
        self.frames = None
        self.cohorts = None
        self.who = who
        #: In the order in which they came, which is that in which they are told.
        self.watched: dict[Any, None] = {}
        self.value = world.value(name, ts, who)
        self.name = name
        for later in range(ts + 1, world.newest + 1):
            if world.states[later].get(name) != world.states[ts].get(name):
                self.valid_until = later
                break

    def holds_at(self, ts):
        return self.ts <= ts and (self.valid_until is None or ts < self.valid_until)

    def watch(self, query):
        self.watched[query] = None

    def unwatch(self, query):
        del self.watched[query]

    @property
    def is_anybodys(self):
        return self.name != "me"

    @property
    def comparable(self):
        return self.value

    def modification(self, query_id):
        return json.dumps(
            {
                "type": "QueryUpdated",
                "queryId": query_id,
                "value": self.value,
                "logLines": [],
                "journal": None,
            }
        ).encode()


class Sent:
    """What is on its way to the client."""

    def __init__(self, effect):
        self.is_transition = isinstance(effect, Push)
        frames = effect.frames if isinstance(effect, Push) else (effect.frame,)
        self.frames = [message_of(frame) for frame in frames]


class Line:
    """Where a cohort writes to one client."""

    def __init__(self, world):
        self._world = world

    @property
    def is_full(self):
        return len(self._world.outbox) > 2

    def write(self, frame):
        assert self._world.closed is None, "sent after closing"
        self._world.outbox.append(Sent(Send(frame)))


class World:
    """One session, its client, and everything that has happened."""

    def __init__(self, *, chunks=False, crowd=None):
        #: Who sees to cohorts. A shell of many sessions shares states and results among them.
        self.crowd = crowd
        self.outlet = Line(self)
        self.states: list[dict[str, int]] = [{}]
        self.session = Session(shell=self, anonymous="nobody", understands_chunks=chunks)
        self.books = Books()
        self.outbox = []
        self.running_queries = []
        self.running_mutation = None
        self.committed_ts: Any = None
        self.running_actions = []
        self.results: list[Result] = []
        self.verify = None
        self.closed = None
        self.subscribed = {}
        self.knows = False
        #: Whether a session that is told of a commit goes on at once, or when the next run lands.
        self.prompt = True
        self.told = 0
        self.query_set = 0
        self.identity = 0
        self.sent_requests = 0

    @property
    def newest(self):
        return len(self.states) - 1

    def value(self, name, ts, who):
        return [name, self.states[ts].get(name, 0), who if name == "me" else None]

    def moment(self):
        return Moment(self.newest, 10**18 + self.newest, 0.0)

    def carry_out(self, effects):
        for effect in effects:
            match effect:
                case Send() | Push():
                    assert self.closed is None, "sent after closing"
                    self.outbox.append(Sent(effect))
                case Close():
                    self.closed = effect
                case RunQuery():
                    self.running_queries.append(effect)
                case RunMutation():
                    assert self.running_mutation is None, "two mutations at once"
                    self.running_mutation = effect
                case RunAction():
                    self.running_actions.append(effect)
                case Unwatch():
                    effect.result.watched.pop(effect.query, None)
                case Verify():
                    self.verify = effect.message
                case Adopt() | Note():
                    pass
                case other:
                    raise AssertionError(other)

    def send(self, **message):
        self.carry_out(self.session.receive(json.dumps(message), self.moment()))

    # What may happen next. Each returns whether it could.

    def deliver(self):
        """The oldest frame reaches the client."""
        if not self.outbox:
            return False
        effect = self.outbox.pop(0)
        for frame in effect.frames:
            self.books.receive(frame)
        self.check()
        if effect.is_transition and self.session.transition_sent():
            self.renew()
        return True

    def finish_query(self, at=0):
        if not self.running_queries:
            return False
        effect = self.running_queries.pop(at % len(self.running_queries))
        result = Result(self, name_of(effect.query.call), effect.ts, effect.identity)
        self.results.append(result)
        self.carry_out(self.session.query_finished(effect.run, result, self.moment()))
        return True

    def write(self, name):
        """Somebody commits; results that it touches are told."""
        if self.crowd is not None:
            self.crowd.write(name)
            return
        self.states.append({**self.states[-1], name: self.states[-1].get(name, 0) + 1})
        # Results end whether somebody watches them or not; only those who watch are told.
        ended = [r for r in self.results if r.name == name and r.valid_until is None]
        for result in ended:
            result.valid_until = self.newest
        for result in ended:
            for query in result.watched:
                query.invalidated(result)
        if self.prompt:
            self.renew()

    # What the session asks meanwhile.

    def find(self, query, ts):
        """A result that somebody else has asked for; whether there is one is up to chance."""
        name, who = name_of(query.call), self.session._identity
        query.asked = name
        if not self.knows:
            return None
        for result in self.results:
            if result.name == name and result.who == who and result.holds_at(ts):
                return result
        self.results.append(Result(self, name, ts, who))
        return self.results[-1]

    def invalidated(self, since_s=None):
        self.told += 1

    def renew(self, at=None):
        self.carry_out(self.session.renew(self.moment(), at))

    def broken(self, error):
        raise error

    def commit_mutation(self):
        """The running mutation's commit becomes visible; its result is still on its way."""
        if self.running_mutation is None or self.committed_ts is not None:
            return False
        self.session.mutation_visible()
        self.write(name_of(self.running_mutation.call))
        self.committed_ts = self.newest
        return True

    def finish_mutation(self, succeeds=True):
        effect = self.running_mutation
        if effect is None:
            return False
        if succeeds or self.committed_ts is not None:
            self.commit_mutation()
            ts, self.committed_ts = self.committed_ts, None
            self.running_mutation = None
            self.carry_out(
                self.session.mutation_succeeded(effect.request_id, b"null", ts, (), self.moment())
            )
        else:
            self.running_mutation = None

            class Failure:
                message = "no"
                data_json = b'{"code":1}'

            self.carry_out(
                self.session.mutation_failed(effect.request_id, Failure, (), self.moment())
            )
        return True

    def finish_verify(self, valid=True):
        if self.verify is None:
            return False
        message, self.verify = self.verify, None
        self.identity += 1
        del valid
        self.carry_out(self.session.authenticated(message.token or "nobody", self.moment()))
        return True

    def settle(self):
        """Let everything that can happen happen."""
        self.renew()
        while (
            self.finish_verify() or self.finish_query() or self.finish_mutation() or self.deliver()
        ):
            pass

    def check(self):
        """All that the client shows is so at one timestamp."""
        ts = ts_of(self.books.version["ts"])
        for id_, shown in self.books.results.items():
            name = self.names[id_]
            assert shown[:2] == [name, self.states[ts].get(name, 0)], (
                f"query {id_} shows {shown} at {ts}, where it is {self.value(name, ts, None)}"
            )

    # Messages.

    names: dict[int, str]

    def subscribe(self, *adds, remove=()):
        if not hasattr(self, "names") or self.names is None:
            self.names = {}
        changes = []
        for id_, name in adds:
            self.names[id_] = name
            self.subscribed[id_] = name
            changes.append(
                {"type": "Add", "queryId": id_, "udfPath": "q:get", "args": [{"name": name}]}
            )
        for id_ in remove:
            del self.subscribed[id_]
            changes.append({"type": "Remove", "queryId": id_})
        self.send(
            type="ModifyQuerySet",
            baseVersion=self.query_set,
            newVersion=self.query_set + 1,
            modifications=changes,
        )
        self.query_set += 1

    def mutate(self, name):
        self.send(
            type="Mutation", requestId=self.sent_requests, udfPath="m:add", args=[{"name": name}]
        )
        self.sent_requests += 1

    def authenticate(self, token):
        self.send(type="Authenticate", baseVersion=self.identity, tokenType="User", value=token)


def connected(**options):
    world = World(**options)
    world.names = {}
    world.send(
        type="Connect",
        sessionId="7d1a7a37-9a2e-4c3e-8a43-1f6b5f0f2b11",
        connectionCount=0,
        lastCloseReason="InitialConnect",
        maxObservedTimestamp=text_of(0),
        clientTs=1,
    )
    return world
