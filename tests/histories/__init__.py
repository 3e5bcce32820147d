"""An independent check: histories that clients record over the network, searched for anomalies.

It knows nothing of timestamps, snapshots or the engine: only what was asked, what was answered,
and which answer came before which question.
"""
