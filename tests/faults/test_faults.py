"""The list of faults and the page about them agree with each other and with the sources."""

from __future__ import annotations

import pytest

from tests.faults.catalog import ALL
from tests.faults.report import read
from tests.servers import REPOSITORY


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.name)
def test_a_fault_fits(fault):
    assert fault.text(REPOSITORY / "src") != (REPOSITORY / "src/camber" / fault.file).read_text()


def test_the_page_has_every_fault_and_each_was_caught_where_it_should_be():
    caught = read()
    assert list(caught) == [fault.name for fault in ALL]
    for fault in ALL:
        assert caught[fault.name].proof.startswith(fault.caught_by[0])
