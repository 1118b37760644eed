"""The Helm chart, rendered by Helm itself."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import yaml
from tests.support.paths import ROOT
from tests.support.programs import program

CHART = ROOT / "deploy" / "helm" / "blade"


def helm(*arguments: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """One call of Helm, with folders of its own."""
    path = program("helm", by="make .build/tools/helm")
    own = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    return subprocess.run([path, *arguments], env=own, capture_output=True, text=True, timeout=60, check=False)


class Rendered:
    """What `helm template` makes of the chart, by kind."""

    def __init__(self, *arguments: str, tmp_path: Path, release: str = "blade") -> None:
        done = helm("template", release, str(CHART), "--namespace", "data", *arguments, tmp_path=tmp_path)
        assert done.returncode == 0, done.stderr
        self.manifests: list[dict[str, Any]] = [each for each in yaml.safe_load_all(done.stdout) if each]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.manifests if each["kind"] == kind]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration file."""
        return tomllib.loads(self.config_text)

    @property
    def config_text(self) -> str:
        [config] = self.of("ConfigMap")
        text: str = config["data"]["blade.toml"]
        return text

    @property
    def pod(self) -> dict[str, Any]:
        [deployment] = self.of("Deployment")
        found: dict[str, Any] = deployment["spec"]["template"]["spec"]
        return found

    @property
    def container(self) -> dict[str, Any]:
        [container] = self.pod["containers"]
        found: dict[str, Any] = container
        return found

    @property
    def environment(self) -> dict[str, str]:
        return {each["name"]: each["value"] for each in self.container["env"]}
