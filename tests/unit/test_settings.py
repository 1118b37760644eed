"""Settings that cannot be right are refused at the start, with a word on what would be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from blade_server.settings import Settings


def test_a_beat_too_slow_for_the_lease_is_refused_with_the_way_out():
    with pytest.raises(ValidationError, match=r"BLADE_LEASE_BEAT_S=4 .* set it to 3\.333"):
        Settings(lease_s=10, lease_beat_s=4)


def test_three_beats_a_lease_are_enough():
    assert Settings(lease_s=9, lease_beat_s=3).lease_beat_s == 3
