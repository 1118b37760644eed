"""Where the platform keeps what belongs to a user."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def config_folder() -> Path:
    """BLADE's folder of the user's configuration."""
    return _folder("XDG_CONFIG_HOME", ".config", "APPDATA")


def data_folder() -> Path:
    """BLADE's folder of the user's data, which a server on this machine has without BLADE_DATA_DIR."""
    return _folder("XDG_DATA_HOME", ".local/share", "LOCALAPPDATA")


def _folder(variable: str, under_home: str, on_windows: str) -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get(on_windows) or Path.home()) / "blade"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "blade"
    return Path(os.environ.get(variable, "").strip() or Path.home() / under_home) / "blade"
