"""The power of a whole deployment is cut while clients write: the bank is whole, from cut to cut."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from camber.deployment.deployment import Deployment
from camber.deployment.settings import DeploymentSettings
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall, SessionRequest
from camber.values.packed import pack
from tests.crashes.bank import ACCOUNTS, BALANCE, BANK, OPEN, TRANSFER, Transfer, check_bank
from tests.crashes.power import Disk, Image, powered

_HISTORIES = int(os.environ.get("CRASH_SEEDS", "1"))
_CUTS = 8
_CLIENTS = 4
_STORE = "camber.sqlite"
_SECRET = "instance_secret"
#: Steps of the disk until the cut: the first of them make the store and push the release.
_STEPS_MAX = 4000


@dataclass(frozen=True, slots=True)
class _Cut:
    image: Image
    acknowledged: dict[Transfer, int]


@pytest.mark.parametrize("seed", range(_HISTORIES))
def test_a_deployment_keeps_its_word_when_its_power_is_cut(tmp_path, seed):
    dice = random.Random(seed)
    acknowledged: dict[Transfer, int] = {}
    sent: set[Transfer] = set()
    image: Image = {}
    newest = 0
    secret = None
    for number in range(_CUTS):
        data = tmp_path / f"{number}"
        data.mkdir()
        if secret is not None:
            shutil.copy(secret, data / _SECRET)
        disk = Disk(data, image)
        cut = _until_cut(disk, dice, acknowledged, sent)
        secret = data / _SECRET
        image, acknowledged = cut.image, cut.acknowledged
        after = tmp_path / f"{number} after"
        after.mkdir()
        for name, content in image.items():
            (after / name).write_bytes(content)
        newest = check_bank(
            after / _STORE, acknowledged=acknowledged, sent=sent, newest_before=newest
        )
    assert acknowledged


def _until_cut(disk, dice, acknowledged, sent) -> _Cut:
    cuts: list[_Cut] = []
    told = dict(acknowledged)
    at_step = dice.randrange(_STEPS_MAX)

    def cut() -> None:
        if not cuts and disk.steps >= at_step:
            # What is told later than this was never told.
            cuts.append(_Cut(disk.image(dice), dict(told)))

    disk.before_step = cut
    with powered(disk):
        asyncio.run(_work(disk.folder, cuts, told, sent, dice))
    return cuts[0]


async def _work(data: Path, cuts, told, sent, dice) -> None:
    settings = DeploymentSettings(root=BANK, functions="backend", data=data)
    deployment = await Deployment.open(settings)
    try:
        await deployment.push()
        await _run(deployment, OPEN, {"names": ACCOUNTS, "balance": BALANCE}, None)
        await asyncio.gather(
            *(
                _transfer(deployment, f"client {client}", cuts, told, sent, dice)
                for client in range(_CLIENTS)
            )
        )
    finally:
        await deployment.close()


async def _transfer(deployment, client, cuts, told, sent, dice) -> None:
    """Go on with the first that was not acknowledged, as it was: perhaps it was done."""
    number = 1 + max((n for name, n in told if name == client), default=0)
    while not cuts:
        choice = random.Random(f"{client} {number}")
        source, target = choice.sample(ACCOUNTS, 2)
        args = {
            "client": client,
            "number": number,
            "source": source,
            "target": target,
            "amount": choice.randint(1, 9),
        }
        sent.add((client, number))
        ts = await _run(deployment, TRANSFER, args, SessionRequest(session=client, request=number))
        told[client, number] = ts
        number += 1


async def _run(deployment, path, args, session):
    result = await deployment.runtime.mutation(
        FunctionCall(
            path=path,
            arguments=pack(args),
            identity=Anonymous(),
            caller=Caller.CLIENT,
            request_id="0" * 16,
        ),
        session=session,
    )
    assert result.failure is None, result.failure
    return result.ts


def test_the_secret_and_the_folders_above_it_are_durable(tmp_path, monkeypatch):
    """What SQLite does not sync, since it does not know of it."""
    synced = []
    fsync = os.fsync

    def noting(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    data = tmp_path / "new" / "data"

    async def open_and_close():
        settings = DeploymentSettings(root=BANK, functions="backend", data=data)
        await (await Deployment.open(settings)).close()

    asyncio.run(open_and_close())
    assert {str(tmp_path), str(tmp_path / "new"), str(data)} <= set(synced)
    # The secret itself under the name that it had before it was whole, and then its name.
    secret = synced.index(str(data / f"{_SECRET}.new"))
    assert str(data) in synced[secret:]
