"""What clients of a real server were answered has no anomaly, up to strict serializability."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.histories.anomalies import anomalies
from tests.histories.recording import Recorder
from tests.proofs.places import PROVING
from tests.servers import Server

#: Of each client; `make soak` makes it ten times as many.
_TRANSACTIONS = settings().max_examples // 5


@pytest.mark.parametrize("executors", [0, 2])
def test_a_history_over_the_network_is_strictly_serializable(tmp_path, executors):
    with Server(PROVING, tmp_path / "data", "--executors", str(executors)) as server:
        recorder = Recorder(server, seed=executors)
        history = recorder.record(mutators=4, readers=3, transactions=_TRANSACTIONS)
    # They have met: most lists have values of several clients.
    assert sum(each.outcome == "committed" for each in history) > len(history) * 0.9
    found = anomalies(history)
    assert found == [], "\n".join(f"{each.name}: {each.detail}" for each in found)
