"""The keys of access tokens are made with the push that needs them, and with no other."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from camber import limits
from camber.engine.variables import VariableChange
from camber.identity.signing_keys import KEY_SET, PRIVATE_KEY
from camber.releases.failures import PushFailed
from camber.releases.push import PushMode
from tests.releases.harness import Deployed, schema

OWN = """
    from camber import Env, OidcProvider
    providers = [OidcProvider(domain=Env("CONVEX_SITE_URL"), application_id="convex")]
"""


class Project:
    """A deployment whose variables a test looks at."""

    def __init__(self, deployed):
        self.deployed = deployed
        self.deployment = deployed.deployment

    @property
    def variables(self):
        with closing(self.deployment.engine.begin("test")) as transaction:
            return {each.name: each.value for each in self.deployment.variables.stored(transaction)}

    async def set(self, **values):
        await self.deployment.change_variables(
            VariableChange(name=name, value=value) for name, value in values.items()
        )


def run(scenario, root):
    async def main():
        async with Deployed(root) as deployed:
            await scenario(Project(deployed))

    asyncio.run(main())


def test_keys_are_made_once_and_stay(tmp_path):
    async def scenario(project):
        await project.deployed.push()
        assert project.variables == {}
        report = await project.deployed.push(auth_config=OWN)
        made = project.variables
        assert set(made) == {PRIVATE_KEY, KEY_SET}
        # Who pushes is told, by the names of the variables alone.
        (note,) = report.notes
        assert f"{PRIVATE_KEY} and {KEY_SET}" in note
        assert not any(value in note for value in made.values())
        report = await project.deployed.push(more="")
        assert project.variables == made
        assert report.notes == ()

    run(scenario, tmp_path)


def test_an_issuer_that_is_spelt_out_is_the_same(tmp_path):
    async def scenario(project):
        site = project.deployment.settings.site_url
        await project.deployed.push(auth_config=OWN.replace('Env("CONVEX_SITE_URL")', repr(site)))
        assert set(project.variables) == {PRIVATE_KEY, KEY_SET}

    run(scenario, tmp_path)


@pytest.mark.parametrize(
    "provider",
    [
        'OidcProvider(domain="https://login.example.com", application_id="convex")',
        'CustomJwt(issuer="https://a.example", jwks="https://a.example/k", algorithm="RS256")',
    ],
)
def test_who_signs_nothing_has_no_keys(tmp_path, provider):
    async def scenario(project):
        await project.deployed.push(
            auth_config=f"from camber import CustomJwt, OidcProvider\nproviders = [{provider}]\n"
        )
        assert project.variables == {}

    run(scenario, tmp_path)


@pytest.mark.parametrize("name", [PRIVATE_KEY, KEY_SET])
def test_what_is_set_is_never_written_over_and_a_half_gets_no_other(tmp_path, name):
    async def scenario(project):
        await project.set(**{name: "mine"})
        await project.deployed.push(auth_config=OWN)
        assert project.variables == {name: "mine"}

    run(scenario, tmp_path)


def test_keys_that_somebody_sets_while_it_is_pushed_stay(tmp_path):
    async def scenario(project):
        await project.deployed.push(schema=schema("name: str"))
        push = await project.deployed.begin_push(
            schema=schema("name: str", 'by_name = Index("name")'), auth_config=OWN
        )
        await project.set(**{KEY_SET: "theirs", PRIVATE_KEY: "theirs too"})
        project.deployed.host.gate.opened.set()
        await push
        assert project.variables == {KEY_SET: "theirs", PRIVATE_KEY: "theirs too"}

    run(scenario, tmp_path)


def test_a_push_that_does_not_switch_makes_none(tmp_path):
    async def scenario(project):
        project.deployed.write(auth_config=OWN)
        release = await project.deployment.load()
        await project.deployment.push_release(release, mode=PushMode.DRY_RUN)
        assert project.variables == {}

    run(scenario, tmp_path)


def test_a_push_whose_keys_have_no_room_says_so_and_changes_nothing(tmp_path):
    async def scenario(project):
        await project.set(**{f"V{i}": "" for i in range(limits.variables_max - 1)})
        before = project.variables
        with pytest.raises(PushFailed, match="cannot be kept: 513 variables"):
            await project.deployed.push(auth_config=OWN)
        assert project.variables == before
        await project.set(V0=None)
        await project.deployed.push(auth_config=OWN)
        assert project.variables.keys() >= {PRIVATE_KEY, KEY_SET}

    run(scenario, tmp_path)
