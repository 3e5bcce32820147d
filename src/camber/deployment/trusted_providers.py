"""Which identity providers are trusted now: those of the serving release, by the variables as they are."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Final

from camber.deployment.followed_tables import FollowedTables
from camber.engine import system_tables
from camber.engine.engine import Engine
from camber.engine.variables import Variables
from camber.errors import FeatureUnavailable
from camber.identity.token_verifier import TokenVerifier
from camber.releases.providers import trusted
from camber.releases.releases import Releases

_log = logging.getLogger("camber.identity")

_FOLLOWED: Final = (
    system_tables.RELEASES_NUMBER,
    system_tables.ENVIRONMENT_VARIABLES_NUMBER,
)


class TrustedProviders:
    """Tells a verifier whom to trust, with the commit that changes it. Lives on the event loop."""

    def __init__(
        self,
        *,
        engine: Engine,
        releases: Releases,
        variables: Variables,
        verifier: TokenVerifier,
        tables: FollowedTables,
    ) -> None:
        self._engine = engine
        self._releases = releases
        self._variables = variables
        self._verifier = verifier
        self._told: tuple[str, ...] = ()
        tables.follow(_FOLLOWED, self._load)

    def _load(self) -> None:
        with closing(self._engine.begin("identity providers")) as transaction:
            try:
                declared = self._releases.serving(transaction).analysis.providers
            except FeatureUnavailable:
                declared = ()
            found = trusted(declared, transaction, self._variables)
        self._verifier.trust(found.providers, found.problems, own_site=found.own_site)
        if found.problems != self._told:
            self._told = found.problems
            for problem in found.problems:
                _log.warning("its tokens are not accepted: %s", problem)
