"""Testing applications: the real engine, in process.

def test_send(camber_app: camber.testing.TestApp):
    channel = camber_app.mutation(create_channel, name="general")
"""

from __future__ import annotations

from camber.testing.app import Subscription, TestApp
from camber.testing.system_errors import system_error

__all__ = ["Subscription", "TestApp", "system_error"]
