"""A BLADE to test against: your own code, the real client (or the command line), real gRPC, and no server.

    from blade_client.testing import FakeBlade

    def test_my_code():
        with FakeBlade() as fake:
            fake.add_source("blade-maintenance", data_type="maintenance")
            fake.add_items("blade-maintenance", {"MAINT-1": {"priority": "HIGH"}, "MAINT-2": {"priority": "LOW"}})
            fake.refuse("MAINT-2", message="422 unknown tail number")

            my_code(fake.client())

            assert set(fake.catalog("maintenance")) == {"MAINT-1"}

It keeps sources, rows, jobs and a catalog in memory, answers as the service does, with the same reasons of errors, and
makes calls fail on demand: `fake.on("GetJob", errors.Unavailable("away", reason="STORAGE_UNAVAILABLE"))`.

What it does not do: it runs no SQL (a test says what a condition means, see `FakeBlade.means`), checks no mapping (rows
come with the ids of their items), and knows no limits of rate.
"""

from __future__ import annotations

from blade_client.testing.fake_blade import FakeBlade

__all__ = ["FakeBlade"]
