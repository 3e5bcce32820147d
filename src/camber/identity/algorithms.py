"""The algorithms of signatures that are accepted (RFC 7518 3.1, RFC 8037 3.1).

All are asymmetric: who can verify a token cannot make one.
"""

from __future__ import annotations

from enum import Enum


class Algorithm(Enum):
    """How a token is signed, by its name in tokens and keys."""

    RS256 = "RS256"
    ES256 = "ES256"
    EDDSA = "EdDSA"


NAMES: tuple[str, ...] = tuple(each.value for each in Algorithm)
