"""Whom a release trusts to sign its users in, once its variables are filled in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from camber.engine.transaction import Transaction
from camber.engine.variables import SITE_URL, Variables, VariableUnreadable
from camber.functions.analysis import AnalysedProvider
from camber.identity.providers import (
    JwtIssuer,
    OidcIssuer,
    Provider,
    ProviderError,
    is_within,
    same_issuer,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """The providers whose tokens can be verified, and what is wrong with the others."""

    providers: tuple[Provider, ...]
    problems: tuple[str, ...]
    #: Where the deployment is a provider itself, if the release says so.
    own_site: str

    @property
    def has_own(self) -> bool:
        """Return whether the deployment is a provider itself, with keys that it has to have."""
        return bool(self.own_site) and any(_is_at(each, self.own_site) for each in self.providers)


def _is_at(provider: Provider, own_site: str) -> bool:
    match provider:
        case OidcIssuer():
            return same_issuer(provider.issuer, own_site)
        case JwtIssuer():
            return is_within(provider.jwks, own_site)


def trusted(
    declared: Sequence[AnalysedProvider], transaction: Transaction, variables: Variables
) -> Trusted:
    """Return whom a release trusts, by the variables as they are; those that it names are recorded."""
    own_site = variables.get(transaction, SITE_URL) or ""
    providers: list[Provider] = []
    problems: list[str] = []
    for each in declared:
        try:
            texts = _texts(each, lambda name: variables.get(transaction, name))
            providers.append(_provider(each, texts, own_site))
        except (ProviderError, VariableUnreadable) as error:
            problems.append(f"{each.name}: {error.sentence}")
    return Trusted(providers=tuple(providers), problems=tuple(problems), own_site=own_site)


def _texts(declared: AnalysedProvider, variable: Callable[[str], str | None]) -> dict[str, str]:
    texts = dict(declared.texts)
    for field, name in declared.variables.items():
        value = variable(name)
        if value is None:
            msg = (
                f"the deployment variable {name} is not set. Set it with `camber env set {name} …`"
            )
            raise ProviderError(msg)
        texts[field] = value
    return texts


def _provider(declared: AnalysedProvider, texts: dict[str, str], own_site: str) -> Provider:
    if declared.kind == "oidc":
        return OidcIssuer.of(
            issuer=texts["domain"], application_id=texts["application_id"], own_site=own_site
        )
    return JwtIssuer.of(
        issuer=texts["issuer"],
        jwks=texts["jwks"],
        algorithm=texts["algorithm"],
        application_id=texts.get("application_id"),
        own_site=own_site,
    )
