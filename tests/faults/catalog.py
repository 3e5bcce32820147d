"""All faults, in the order of the page about them."""

from __future__ import annotations

from typing import Final

from tests.faults.attacks import ATTACKS
from tests.faults.planted import FAULTS

ALL: Final = (*FAULTS, *ATTACKS)
