"""Whom a release trusts to sign its users in: what a push says of it, and what variables change."""

from __future__ import annotations

import asyncio

import pytest

from camber.engine.variables import VariableChange
from camber.releases.failures import PushFailed
from camber.releases.push import PushMode
from tests.releases.harness import Deployed

BY_VARIABLES = """
    from camber import Env, OidcProvider
    providers = [OidcProvider(domain=Env("AUTH_DOMAIN"), application_id=Env("AUTH_APP"))]
"""
TWO = """
    from camber import CustomJwt, OidcProvider
    providers = [
        OidcProvider(domain="https://login.example.com", application_id="app"),
        CustomJwt(issuer="https://a.example", jwks="https://a.example/k", algorithm="ES256"),
    ]
"""
NONE = "providers = []\n"
LOGIN = "OidcProvider(application_id='app', domain='https://login.example.com')"
CUSTOM = "CustomJwt(algorithm='ES256', issuer='https://a.example', jwks='https://a.example/k')"


def run(scenario, root):
    async def main():
        async with Deployed(root) as deployed:
            await scenario(deployed)

    asyncio.run(main())


async def set_variables(deployed, **values):
    await deployed.deployment.change_variables(
        VariableChange(name=name, value=value) for name, value in values.items()
    )


def trusted(deployed):
    return [str(each) for each in deployed.deployment.verifier.providers]


def test_a_push_says_which_providers_came_and_went(tmp_path):
    async def scenario(deployed):
        report = await deployed.push()
        assert report.changes.providers_added == ()
        report = await deployed.push(auth_config=TWO)
        assert report.changes.providers_added == (CUSTOM, LOGIN)
        assert report.changes.providers_removed == ()
        report = await deployed.push(auth_config=TWO.replace('"app"', '"other"'))
        assert report.changes.providers_added == (LOGIN.replace("'app'", "'other'"),)
        assert report.changes.providers_removed == (LOGIN,)
        report = await deployed.push(more="x = 1")
        assert report.changes.providers_added == report.changes.providers_removed == ()
        report = await deployed.push(auth_config=NONE)
        assert len(report.changes.providers_removed) == 2
        assert trusted(deployed) == []

    run(scenario, tmp_path)


def test_a_push_that_names_a_variable_that_is_not_set_changes_nothing_and_says_which(tmp_path):
    async def scenario(deployed):
        before = await deployed.push(auth_config=TWO)
        await set_variables(deployed, AUTH_APP="app")
        said = r"AUTH_DOMAIN is not set. Set it with `camber env set AUTH_DOMAIN"
        with pytest.raises(PushFailed, match=said):
            await deployed.push(auth_config=BY_VARIABLES)
        release = await deployed.deployment.load()
        with pytest.raises(PushFailed, match=said):
            await deployed.deployment.push_release(release, mode=PushMode.DRY_RUN)
        assert deployed.history()[0].number == before.release
        assert len(trusted(deployed)) == 2
        await set_variables(deployed, AUTH_DOMAIN="login.example.com")
        report = await deployed.push()
        assert report.changes.providers_added == (
            "OidcProvider(application_id=Env('AUTH_APP'), domain=Env('AUTH_DOMAIN'))",
        )
        assert trusted(deployed) == [
            "OidcProvider(domain='https://login.example.com', application_id='app')"
        ]

    run(scenario, tmp_path)


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        ("http://login.example.com", "it is https"),
        ("", "domain is empty"),
        ("https://login.example.com?a=b", "an issuer has no query"),
        ("https://user@login.example.com", "no user"),
        ("ftp://login.example.com", "which is no URL"),
    ],
)
def test_a_push_whose_variable_is_no_issuer_says_why(tmp_path, domain, said):
    async def scenario(deployed):
        await set_variables(deployed, AUTH_APP="app", AUTH_DOMAIN=domain)
        with pytest.raises(PushFailed, match=said):
            await deployed.push(auth_config=BY_VARIABLES)

    run(scenario, tmp_path)


def test_variables_that_change_are_followed_without_a_push(tmp_path):
    async def scenario(deployed):
        await set_variables(deployed, AUTH_APP="app", AUTH_DOMAIN="https://one.example.com")
        report = await deployed.push(auth_config=BY_VARIABLES)
        await set_variables(deployed, AUTH_DOMAIN="https://two.example.com")
        assert trusted(deployed) == [
            "OidcProvider(domain='https://two.example.com', application_id='app')"
        ]
        # What is wrong with one trusts nobody, and the release serves on.
        await set_variables(deployed, AUTH_DOMAIN="http://two.example.com")
        assert trusted(deployed) == []
        await set_variables(deployed, AUTH_DOMAIN=None)
        assert trusted(deployed) == []
        assert deployed.history()[0].number == report.release
        await set_variables(deployed, AUTH_DOMAIN="https://one.example.com")
        assert len(trusted(deployed)) == 1

    run(scenario, tmp_path)
