"""Explanations of an application under test, as the HTTP API tells them."""

from __future__ import annotations

import json

from msgspec.structs import replace

from camber.identity.identity import Admin, user_of
from camber.runtime.executor import Caller, Origin
from camber.server.explain_api import explanation_json
from camber.values.wire import encode_json


def explained(app, function, /, **arguments):
    """Return the explanation of a call by a holder of a key, who acts as the app's user."""
    core = app._core
    _, call = core.call(function, (), arguments, app._identity)
    call = replace(
        call,
        identity=Admin(user_of(app._identity)),
        caller=Caller.ADMIN,
        origin=Origin.HTTP_API,
    )
    found = core.wait(_explain(core.deployment, call))
    return json.loads(encode_json(explanation_json(found)))


async def _explain(deployment, call):
    return await deployment.runtime.explain(call)
