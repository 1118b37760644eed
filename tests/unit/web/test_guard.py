from __future__ import annotations

import pytest

from blade_server.web.guard import is_loopback


@pytest.mark.parametrize("name", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_names_that_can_only_mean_this_machine(name):
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name", ["", "0.0.0.0", "::", "localhost.example", "xlocalhost", "10.0.0.1", "127.0.0.1.example", "0177.0.0.1"]
)
def test_names_that_can_mean_another(name):
    assert not is_loopback(name)
