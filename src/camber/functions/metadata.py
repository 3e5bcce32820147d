"""`ctx.meta`: what a function may know of itself, of what it was asked by, and of what it has used."""

from __future__ import annotations

from typing import Protocol

import msgspec

from camber.values.value import Int64


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a limit is used, and what remains; less than nothing once it was overstepped."""

    used: int
    remaining: int


class TransactionMetrics(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a transaction has used of its limits, in all its calls: they share them."""

    bytes_read: Metric
    bytes_written: Metric
    database_queries: Metric
    documents_read: Metric
    documents_written: Metric
    functions_scheduled: Metric
    scheduled_function_args_bytes: Metric


class FunctionMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A function: `name` is its path (`messages:send`), `component_path` empty for the application."""

    name: str
    component_path: str
    type: str
    visibility: str


class RequestMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a function runs for: a request, and a scheduled function or cron job if it is one.

    `ip` and `user_agent` are those of the client that asked, also for what it has called in its turn.
    Both are None for what is scheduled, and `ip` where the server cannot know it: docs/hosting.md.
    `auth_token` is the one that the user signed in with, verified; components are not given it.
    """

    request_id: str
    scheduled_function_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    auth_token: str | None = None

    def __repr__(self) -> str:
        # What a function logs of its request goes to logs, which are no place for what lets people in.
        shown = {**msgspec.structs.asdict(self), "auth_token": self.auth_token and "…"}
        return f"RequestMetadata({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class Facts(Protocol):
    """Knows what a function may know."""

    def function(self) -> FunctionMetadata:
        """Return the function that runs."""

    def request(self) -> RequestMetadata:
        """Return what it runs for."""


class TransactionFacts(Facts, Protocol):
    """Knows what a query or mutation may know."""

    def metrics(self) -> TransactionMetrics:
        """Return what the transaction has used so far."""

    def snapshot_ts(self) -> int:
        """Return the timestamp of its snapshot."""


class Meta:
    """`ctx.meta` of an action."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def get_function_metadata(self) -> FunctionMetadata:
        """Return the function that runs: its name, component, type and visibility."""
        return self._facts.function()

    def get_request_metadata(self) -> RequestMetadata:
        """Return what the function runs for."""
        return self._facts.request()


class QueryMeta:
    """`ctx.meta` of a query. What it was asked by is not there: others are given its result too."""

    def __init__(self, facts: TransactionFacts) -> None:
        self._facts = facts

    def get_function_metadata(self) -> FunctionMetadata:
        """Return the function that runs: its name, component, type and visibility."""
        return self._facts.function()

    def get_transaction_metrics(self) -> TransactionMetrics:
        """Return what the transaction has used of its limits so far, and what remains."""
        return self._facts.metrics()


class MutationMeta(QueryMeta):
    """`ctx.meta` of a mutation."""

    def get_request_metadata(self) -> RequestMetadata:
        """Return what the function runs for."""
        return self._facts.request()

    def get_snapshot_ts(self) -> Int64:
        """Return the timestamp of what it reads: nanoseconds, on the clock of commits."""
        return Int64(self._facts.snapshot_ts())
