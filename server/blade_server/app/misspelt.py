"""Variables that look like settings and are none: nobody reads them, and whoever set them thinks otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from blade_server.settings import Settings, files_of_secrets, variable

OF_THE_LOG = ("BLADE_LOG_FORMAT", "BLADE_LOG_LEVEL", "BLADE_LOG_LEVEL_FILE")
"""Options of the commands, which come before all settings."""
_OTHERS = (*OF_THE_LOG, "BLADE_CONFIG", "BLADE_SERVER", "BLADE_TOKEN", "BLADE_TOKEN_FILE", "BLADE_PROFILE")
_NOT_OURS = re.compile(r"BLADE_(SECRET_|FAULT_|REQUIRE_|SERVICE_(HOST|PORT)|PORT_\d+_)\w*|BLADE_PORT_\d+")
"""Secrets that sources refer to, those of tests, and what Kubernetes says of a service named `blade`."""


def misspelt(names: Iterable[str]) -> Iterator[str]:
    """A sentence for each variable that begins like a setting and is none."""
    known = {*map(variable, Settings.model_fields), *files_of_secrets().values(), *_OTHERS}
    for name in sorted(names):
        if not name.upper().startswith("BLADE_") or name.upper() in known or _NOT_OURS.fullmatch(name.upper()):
            continue
        like = get_close_matches(name.upper(), known, n=1, cutoff=0.7)
        yield f"{name} is set and is no setting" + (
            f"; did you mean {like[0]}?" if like else "; docs/settings.md has all"
        )
