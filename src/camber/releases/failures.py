"""Why a release could not take over."""

from __future__ import annotations

from camber.errors import CamberError


class PushFailed(CamberError):
    """A release could not take over. Says what stood in the way; the last good one serves on."""

    code = "PushFailed"

    def __str__(self) -> str:
        return self.sentence


class VariablesLacking(PushFailed):
    """What the release needs of deployment variables is not there: pushed again, it may take over."""
