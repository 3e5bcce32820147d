"""What a server may open, on systems that let it open more or less."""

from __future__ import annotations

import resource

import pytest

from camber import limits
from camber.deployment.settings import NetworkLimits
from camber.server.open_files import TooFewFiles, within_open_files

_BESIDES = limits.files_besides_connections


@pytest.fixture
def system(monkeypatch):
    """A system with limits, which may be less generous than it says."""

    def system(soft, hard, *, really=None):
        limit = [soft, hard]

        def raise_to(_, wanted):
            if really is not None and wanted[0] > really:
                raise ValueError("not allowed to raise maximum limit")
            assert wanted[0] <= hard or hard == resource.RLIM_INFINITY
            limit[:] = wanted

        monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limit))
        monkeypatch.setattr(resource, "setrlimit", raise_to)
        return limit

    return system


@pytest.mark.parametrize(
    ("soft", "hard", "asked", "served", "raised"),
    [
        (1024, 524_288, 10_000, 10_000, 10_000 + _BESIDES),
        (524_288, 524_288, 10_000, 10_000, 524_288),
        (1024, resource.RLIM_INFINITY, 10_000, 10_000, 10_000 + _BESIDES),
        (1024, 4096, 0, 4096 - _BESIDES, 4096),
        (1024, 1024, 768, 768, 1024),
    ],
)
def test_the_limit_is_raised_to_what_connections_need(system, soft, hard, asked, served, raised):
    limit = system(soft, hard)
    network, told = within_open_files(NetworkLimits(connections=asked))
    assert (network.connections, told) == (served, None)
    assert limit[0] == raised


@pytest.mark.parametrize(
    ("soft", "hard", "really", "files"),
    [(1024, 4096, None, 4096), (1024, resource.RLIM_INFINITY, 2000, 1024)],
)
def test_a_system_that_allows_fewer_is_told_of(system, soft, hard, really, files):
    system(soft, hard, really=really)
    network, told = within_open_files(NetworkLimits(connections=10_000))
    assert network.connections == files - _BESIDES
    assert told is not None
    for number in (files, _BESIDES, files - _BESIDES, 10_000):
        assert str(number) in told
    assert "ulimit" in told


def test_a_system_that_allows_next_to_none_serves_nobody(system):
    system(200, 200)
    with pytest.raises(TooFewFiles, match="200 files"):
        within_open_files(NetworkLimits())
