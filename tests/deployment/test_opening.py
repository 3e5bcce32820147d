"""Deployments that cannot be opened: nothing is left of them."""

from __future__ import annotations

import asyncio

import pytest

from camber.deployment.deployment import Deployment
from camber.deployment.settings import DeploymentSettings
from camber.errors import BadRequest
from tests.servers import KITCHEN


def test_what_cannot_be_opened_is_closed_and_may_be_tried_again(tmp_path):
    def opened(environment):
        return Deployment.open(
            DeploymentSettings(
                root=KITCHEN, functions="backend", data=tmp_path, environment=environment
            )
        )

    async def go():
        for _ in range(2):
            with pytest.raises(BadRequest, match="no name"):
                await opened({"no name": "x"})
            assert asyncio.all_tasks() == {asyncio.current_task()}
        await (await opened({"NAME": "x"})).close()

    asyncio.run(go())
