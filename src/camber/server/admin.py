"""Who sends a request, and who may use the admin routes (protocol 4.3, 8.4)."""

from __future__ import annotations

from starlette.requests import Request

from camber.deployment.deployment import Deployment
from camber.errors import ErrorKind, RequestError
from camber.identity.authorization import (
    AdminKey,
    credentials_of_header,
    identity_of_admin_key,
    identity_of_header,
)
from camber.identity.identity import Admin, Identity
from camber.identity.operations import Operation
from camber.server.headers import header_of


def admin_of(request: Request, deployment: Deployment, operation: Operation) -> Admin:
    """Return the admin who sends a request.

    Raises:
        AuthenticationFailed: the key is not valid here (401).
        RequestError: there is no key (403).
        PermissionDenied: the key does not allow `operation` (403).
    """
    admin = any_admin_of(request, deployment)
    admin.require(operation, request.url.path)
    return admin


def any_admin_of(request: Request, deployment: Deployment) -> Admin:
    """Return the admin who sends a request that any key allows.

    Raises:
        AuthenticationFailed: the key is not valid here (401).
        RequestError: there is no key (403).
    """
    credentials = credentials_of_header(_header(request))
    if not isinstance(credentials, AdminKey):
        # Whose a token is does not matter: users have no such rights.
        msg = f"{request.url.path} needs an admin key: `Authorization: Convex <admin key>`"
        raise RequestError(msg, code="BadDeployKey", kind=ErrorKind.FORBIDDEN)
    return identity_of_admin_key(credentials.text, deployment.admin_keys)


async def identity_of(request: Request, deployment: Deployment) -> Identity:
    """Return who sends a request: its header says so, or else its parameter `adminKey`.

    Raises:
        BadRequest: the header is malformed.
        AuthenticationFailed: its token or key is not valid here.
        FeatureUnavailable: the token's provider does not answer.
    """
    return await identity_of_header(_header(request), deployment.admin_keys, deployment.verifier)


def _header(request: Request) -> str | None:
    header = header_of(request.scope, b"authorization")
    if header is None and request.scope["query_string"] and "adminKey" in request.query_params:
        return f"Convex {request.query_params['adminKey']}"
    return header
