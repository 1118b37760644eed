"""What is raised where a statement has to be translated anew."""

from __future__ import annotations


class StaleVersionError(Exception):
    """A table was written to after the statement was translated; translate it again."""
