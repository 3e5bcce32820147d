"""Who may use the admin routes (protocol 8.4)."""

from __future__ import annotations

from starlette.requests import Request

from camber.deployment.deployment import Deployment
from camber.errors import ErrorKind, RequestError
from camber.identity.authorization import identity_of_header
from camber.identity.identity import Admin
from camber.identity.operations import Operation


def admin_of(request: Request, deployment: Deployment, operation: Operation) -> Admin:
    """Return the admin who sends a request.

    Raises:
        AuthenticationFailed: the key is not valid here (401).
        RequestError: there is no key, or it does not allow `operation` (403).
    """
    identity = identity_of_header(request.headers.get("authorization"), deployment.admin_keys)
    if not isinstance(identity, Admin):
        msg = (
            f"{request.url.path} needs a key that may do {operation.value!r}: "
            "`Authorization: Convex <admin key>`"
        )
        raise RequestError(msg, code="BadDeployKey", kind=ErrorKind.FORBIDDEN)
    return identity
