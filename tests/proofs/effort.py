"""How long a proof looks: as a part of what tests of pure rules do, in whichever profile runs."""

from __future__ import annotations

from hypothesis import settings


def one_in(part: int) -> settings:
    """Return the settings of a test whose examples take `part` times as long as others do."""
    return settings(max_examples=max(1, settings().max_examples // part))
