"""What must have become of actions that were scheduled: each has run once, or not at all.

That none has done its work twice is seen by the oracle, which replays what they have committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from camber.deployment.deployment import Deployment
from camber.engine.transaction import Transaction
from tests.engine.harness import rows

#: What may end an action, or a mutation of its, before it has done its work.
ENDING = frozenset({"kill", "crash", "stop", "failing disk", "kill executor", "stall executor"})


#: What calls of components is counted as that.
_STOWING = frozenset({"stow", "move", "arrive"})


def come_to(deployment: Deployment) -> dict[str, int]:
    """Return how much has been done that only worlds with the whole platform do."""
    with closing(deployment.engine.begin("verdict")) as transaction:
        done = [each["operation"] for each in rows(transaction, "done")]
        states = _states(transaction)
    return {
        "delivered": done.count("deliver"),
        "lost": sum(state["kind"] == "failed" for state in states.values()),
        "stowed": sum(each in _STOWING for each in done),
    }


def _states(transaction: Transaction) -> dict[str, Any]:
    """Return what has become of each action that was scheduled."""
    return {
        each["args"][0]["text"]: each["state"]
        for each in rows(transaction, "_scheduled_functions")
        if each["name"].endswith(":errand")
    }


def judged_actions(deployment: Deployment, faults: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong with them, once nothing goes on any more."""
    with closing(deployment.engine.begin("verdict")) as transaction:
        done = rows(transaction, "done")
        states = _states(transaction)
    sent = {each["arguments"]["text"] for each in done if each["operation"] == "send"}
    delivered = {
        each["arguments"]["text"]
        for each in done
        if each["operation"] == "deliver" and each["client"].endswith(", sent")
    }
    for text in sorted(sent ^ states.keys()):
        yield f"{text} was {'sent, and is not' if text in sent else 'not sent, and is'} scheduled"
    for text in sorted(delivered - sent):
        yield f"{text} was delivered, and nobody had sent it"
    for text, state in sorted(states.items()):
        if state["kind"] not in {"success", "failed"}:
            yield f"the action {text} is {state['kind']} in the end"
        elif state["kind"] == "success" and text not in delivered:
            yield f"the action {text} has succeeded, and has delivered nothing"
        elif state["kind"] == "failed" and not faults & ENDING:
            yield f"the action {text} has failed, and nothing had ended it: {state}"
