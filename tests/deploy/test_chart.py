"""The Helm chart: Helm takes it, Kubernetes' schemas take what it makes, and a server takes the settings in that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import requests
from tests.support.access import ADMIN_TOKEN
from tests.support.charts import CHART, Rendered, helm
from tests.support.paths import ROOT
from tests.support.programs import package
from tests.support.servers import TIMEOUT_S, Served

from blade_server.app.config_file import put_into, read
from blade_server.app.exposure import check_exposure
from blade_server.settings import Settings, files_of_secrets

VALUES = {"defaults": (), **{file.stem: ("--values", str(file)) for file in sorted((CHART / "ci").glob("*.yaml"))}}
EVERYTHING = VALUES["plaintext-values"]
TLS = ROOT / "tests" / "unit" / "client" / "tls"
OF_THE_OPERATOR = {"ServiceMonitor"}
"""Kinds that Kubernetes itself does not know."""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Rendered]:
    """What Helm makes of some arguments; what is asked for again is remembered."""
    home = tmp_path_factory.mktemp("home")
    return cache(lambda *arguments: Rendered(*arguments, tmp_path=home))


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    def words(*arguments: str) -> str:
        done = helm("template", "blade", str(CHART), *arguments, tmp_path=tmp_path)
        assert done.returncode != 0, done.stdout
        return done.stderr

    return words


@pytest.fixture
def _own_environment() -> Iterator[None]:
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("BLADE_", "DATABRICKS_", "DATABASE_")):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_helm_has_nothing_against_it(tmp_path: Path, values: tuple[str, ...]) -> None:
    done = helm("lint", str(CHART), "--strict", *values, tmp_path=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout


@pytest.mark.parametrize("version", ["1.28", "1.37"])
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_kubernetes_has_nothing_against_what_it_makes(rendered, values: tuple[str, ...], version: str) -> None:
    kubernetes_validate = package("kubernetes_validate", "deploy")
    for manifest in rendered(*values).manifests:
        if manifest["kind"] not in OF_THE_OPERATOR:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.usefixtures("_own_environment")
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_a_server_takes_the_settings_of_its_pods(rendered, tmp_path: Path, values: tuple[str, ...]) -> None:
    chart = rendered(*values)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for item in next(each for each in chart.pod["volumes"] if each["name"] == "secrets")["secret"]["items"]:
        (secrets / item["path"]).write_text("postgresql://u:p@h/d" if item["key"] == "database-url" else "s3cret")
    file = tmp_path / "blade.toml"
    file.write_text(chart.config_text.replace("/etc/blade/secrets", str(secrets)))
    os.environ |= {name: value for name, value in chart.environment.items() if name != "BLADE_CONFIG"}
    put_into(os.environ, read(file))
    settings = Settings()
    check_exposure(settings)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://u:p@h/d"
    assert {"blade.data.svc", "mover.data.svc"} & set(settings.allowed_hosts)


def test_a_server_as_in_a_pod_answers_its_probes(rendered, postgres_url: str, tmp_path: Path) -> None:
    chart = rendered()
    (tmp_path / "admin-token").write_text(ADMIN_TOKEN)
    (tmp_path / "database-url").write_text(postgres_url)
    for other in ("databricks-token", "catalog-token"):
        (tmp_path / other).write_text("s3cret")
    file = tmp_path / "blade.toml"
    file.write_text(chart.config_text.replace("/etc/blade/secrets", str(tmp_path)))
    own = {
        "BLADE_CONFIG": str(file),
        "BLADE_HOST": "127.0.0.1",
        "BLADE_ADMIN_HOST": "127.0.0.1",
        "BLADE_TLS_CERT_FILE": str(TLS / "cert.pem"),
        "BLADE_TLS_KEY_FILE": str(TLS / "key.pem"),
        "BLADE_READY_FILE": str(tmp_path / "ready"),
        "BLADE_DATA_DIR": str(tmp_path / "data"),
        "BLADE_ADMIN_TOKEN_FILE": None,
        "BLADE_ADMIN_PORT": None,
    }
    server = Served("--json", **(chart.environment | {"BLADE_PORT": "0", "BLADE_HTTP_PORT": "0"} | own))
    try:
        admin = f"http://127.0.0.1:{server.said()['admin_port']}"
        for probe in ("startup", "liveness", "readiness"):
            path = chart.container[f"{probe}Probe"]["httpGet"]["path"]
            assert requests.get(admin + path, timeout=TIMEOUT_S).status_code == 200
        assert "blade_ready 1.0" in requests.get(f"{admin}/metrics", timeout=TIMEOUT_S).text
    finally:
        server.stop()


def test_the_values_of_the_page_are_taken(rendered, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    values = tmp_path / "my-values.yaml"
    values.write_text(page.partition("```yaml\n")[2].partition("```")[0])
    chart = rendered("--values", str(values))
    assert chart.config["workers"] == 2
    assert "blade.example.com" in chart.config["allowed_hosts"]
    [ingress] = chart.of("Ingress")
    assert ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"] == {
        "name": "blade",
        "port": {"name": "http"},
    }


def test_settings_of_every_kind_get_into_the_file(rendered) -> None:
    config = rendered(*EVERYTHING).config
    assert config["admins"] == ["group:blade-admins", 'subject:o\'neil "the" <admin>']
    assert (config["workers"], config["max_open_jobs"], config["drain_timeout_s"]) == (2, 1_000_000, 90.5)
    assert (config["open_contract"], config["oidc_name"]) == (True, "Größe & Co")
    hosts = ["mover", "mover.data", "mover.data.svc", "blade.example.com", "blade.mesh.example.com"]
    assert config["allowed_hosts"] == hosts


def test_secrets_are_files_and_never_in_the_environment_or_the_config(rendered) -> None:
    chart = rendered(*EVERYTHING)
    named = {name: value for name, value in chart.config.items() if name.endswith("_file")}
    [volume] = [each["secret"] for each in chart.pod["volumes"] if each["name"] == "secrets"]
    assert volume["secretName"] == "mover-secrets"
    assert {f"/etc/blade/secrets/{item['path']}" for item in volume["items"]} == set(named.values())
    assert set(named) == {
        "admin_token_file",
        "catalog_token_file",
        "database_url_file",
        "databricks_client_secret_file",
    }
    assert not any("valueFrom" in each for each in chart.container["env"])


@pytest.mark.parametrize("name", files_of_secrets())
def test_a_secret_in_the_values_is_refused_with_the_way_out(refused, name: str) -> None:
    assert f"config.{name} is a secret" in refused("--set", f"config.{name}=x")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("config.port=1", "config.port is set by the chart: use service.grpcPort"),
        ("config.plaintext=behind-proxy", "config.plaintext is set by the chart: use tls.enabled"),
        ("replica=3", "replica"),
        ("replicas=-1", "/replicas"),
        ("tls.secretName=Not_A_Name", "/tls/secretName"),
        ("ingress.http.enabled=true", "ingress.http.host is not set"),
        ("image.digest=sha256:1", "/image/digest"),
    ],
)
def test_values_that_cannot_be_right_are_refused(refused, values: str, said: str) -> None:
    assert said in refused("--set", values)


def test_a_pod_may_do_nothing_but_serve(rendered) -> None:
    chart = rendered()
    assert chart.pod["automountServiceAccountToken"] is False
    wanted = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    assert wanted.items() <= chart.pod["securityContext"].items()
    assert chart.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {each["mountPath"] for each in chart.container["volumeMounts"] if not each.get("readOnly")}
    assert writable == {"/tmp", "/var/lib/blade"}


def test_variables_of_a_service_of_that_name_are_not_taken_for_settings(rendered) -> None:
    """Kubernetes would set BLADE_PORT=tcp://10.0.0.1:50051 in the pods of a namespace with a Service `blade`."""
    assert rendered().pod["enableServiceLinks"] is False


@pytest.mark.parametrize(("values", "least"), [((), 5 + 30 + 5), (EVERYTHING, 10 + 91 + 5)])
def test_a_pod_that_stops_has_the_time_of_its_drain(rendered, values, least: int) -> None:
    chart = rendered(*values)
    assert chart.pod["terminationGracePeriodSeconds"] >= least
    assert chart.container["lifecycle"]["preStop"]["exec"]["command"][0] == "sleep"


def test_no_pod_goes_before_another_one_is_ready(rendered) -> None:
    chart = rendered()
    [deployment] = chart.of("Deployment")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    [budget] = chart.of("PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_what_is_selected_and_named_is_there(rendered, values: tuple[str, ...]) -> None:
    chart = rendered(*values)
    [deployment] = chart.of("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [each["spec"]["selector"] for each in chart.of("Service")]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in chart.of("PodDisruptionBudget")]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in chart.of("NetworkPolicy")]
    assert all(selector.items() <= labels for selector in selectors)
    ports = {each["name"] for each in chart.container["ports"]}
    assert {port["targetPort"] for service in chart.of("Service") for port in service["spec"]["ports"]} <= ports
    assert {
        chart.container[f"{probe}Probe"]["httpGet"]["port"] for probe in ("startup", "liveness", "readiness")
    } <= ports
    accounts = {each["metadata"]["name"] for each in chart.of("ServiceAccount")} or {"default"}
    assert chart.pod["serviceAccountName"] in accounts


def test_probes_and_metrics_are_asked_at_the_port_for_them(rendered) -> None:
    chart = rendered(*EVERYTHING)
    [admin] = [each["containerPort"] for each in chart.container["ports"] if each["name"] == "admin"]
    assert (admin, chart.environment["BLADE_ADMIN_PORT"]) == (9500, "9500")
    paths = [chart.container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")]
    assert paths == ["/livez", "/livez", "/readyz"]
    [monitor] = chart.of("ServiceMonitor")
    chosen = [
        service["spec"]["ports"]
        for service in chart.of("Service")
        if monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ]
    assert [[port["name"] for port in ports] for ports in chosen] == [["admin"]]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_only_who_is_named_reaches_a_pod(rendered) -> None:
    [policy] = rendered().of("NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["from"] for rule in policy["spec"]["ingress"]] == [[{"podSelector": {}}], [{"podSelector": {}}]]
    [egress] = policy["spec"]["egress"]
    assert [port["port"] for port in egress["ports"]] == [53, 53, 5432, 443]


def test_a_change_of_the_settings_rolls_the_pods(rendered) -> None:
    def checksum(*arguments: str) -> str:
        [deployment] = rendered(*arguments).of("Deployment")
        return deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum() == checksum("--set", "podLabels.a=b")
    assert checksum() != checksum("--set", "config.workers=1")
