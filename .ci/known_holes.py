"""Known security holes of the pinned dependencies, by pip-audit; `make known-holes`.

Ends with 1 if a pinned version has one. Where the data on holes, or pip-audit, cannot be reached, it says how many
versions were not looked up, and ends with 0: the build of somebody without Internet does not stop for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def main(pip_audit: str, requirements: str) -> int:
    """Looks up the versions in a file of pins; returns the exit code."""
    if not Path(pip_audit).exists():
        print("note: pip-audit could not be installed, so nothing was looked up")
        return 0
    asked = [
        pip_audit,
        "--requirement",
        requirements,
        "--no-deps",
        "--disable-pip",
        "--format=json",
        "--progress-spinner=off",
    ]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"pip-audit gave no answer:\n{done.stderr[-2000:]}", file=sys.stderr)
        return 2
    unknown = [one["name"] for one in found if "skip_reason" in one]
    holes = [(one["name"], one["version"], hole) for one in found for hole in one.get("vulns", ())]
    for name, version, hole in holes:
        fixed = ", ".join(hole["fix_versions"]) or "none yet"
        print(f"{name} {version}: {hole['id']} (mended in: {fixed})")
    print(f"{len(found) - len(unknown)} of {len(found)} pinned versions looked up, {len(holes)} known holes in them")
    if unknown:
        print(f"note: no data could be reached for {len(unknown)} of them; run it again where the Internet is")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
