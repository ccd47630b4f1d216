"""The manifests for Kubernetes: against its schemas, and against what a worker and a broker do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from effectmq.api.access.guard import LIVE
from effectmq.cli import parser_of
from effectmq.consumers.settings import WorkerSettings
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.topology import Names
from effectmq.settings.durations import read_duration
from effectmq.settings.table import SETTINGS
from tests.databases.fixtures import have
from tests.deploy.kustomize import Object, kustomized
from tests.deploy.names import ROOT
from tests.deploy.schemas import OBJECTS, KubernetesSchemas, find_schemas

_FOLDER = ROOT / "deploy" / "kubernetes"
_FLEET = kustomized(_FOLDER)
_SCALING = kustomized(_FOLDER / "keda")
_MIGRATION = kustomized(_FOLDER / "migrate")
_DASHBOARD = kustomized(_FOLDER / "dashboard")
#: How long a worker may take to cancel handlers, to send what it holds and to disconnect.
_LEAVING_S = 20


def of_kind(kind: str, among: list[Object] = _FLEET) -> dict[str, Object]:
    """Objects by name."""
    return {one["metadata"]["name"]: one for one in among if one["kind"] == kind}


def pod(deployment: Object) -> Any:
    return deployment["spec"]["template"]["spec"]


_DEPLOYMENTS = of_kind("Deployment")
_SETTINGS: dict[str, str] = of_kind("ConfigMap")["effectmq-settings"]["data"]
each_deployment = pytest.mark.parametrize("name", _DEPLOYMENTS)


@pytest.mark.parametrize("release", ["1.29", "1.37"])
def test_the_api_server_takes_every_object(release: str, pytestconfig: pytest.Config) -> None:
    """A member that this release does not know is an error, too."""
    schemas = KubernetesSchemas(have(pytestconfig, find_schemas), release)
    objects = [*_FLEET, *_MIGRATION, *_DASHBOARD]
    assert [problem for one in objects for problem in schemas.problems(one)] == []
    assert {(one["apiVersion"], one["kind"]) for one in objects} == set(OBJECTS)
    wrong = {**next(iter(_DEPLOYMENTS.values())), "spec": {"replica": 1}}
    assert any("'replica'" in problem for problem in schemas.problems(wrong))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
@pytest.mark.parametrize(
    "folder", [_FOLDER, *(_FOLDER / each for each in ("dashboard", "keda", "migrate"))]
)
def test_kubectl_makes_the_same_of_the_folders(folder: Path) -> None:
    """What the other tests look at is what is applied."""
    done = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""

    def order(one: Object) -> tuple[str, str]:
        return one["kind"], one["metadata"]["name"]

    found: list[Object] = list(yaml.safe_load_all(done.stdout))
    assert sorted(found, key=order) == sorted(kustomized(folder), key=order)


def test_every_kind_has_a_deployment_and_a_disruption_budget() -> None:
    """Both look at the pods of their route, and no two at the same."""
    kinds = {one["metadata"]["labels"]["effectmq.dev/route"] for one in _DEPLOYMENTS.values()}
    assert kinds == set(EFFECT_KINDS)
    budgets = of_kind("PodDisruptionBudget")
    assert set(budgets) == set(_DEPLOYMENTS)
    for name, one in _DEPLOYMENTS.items():
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert one["spec"]["selector"]["matchLabels"] == labels
        assert budgets[name]["spec"]["selector"]["matchLabels"] == labels


@each_deployment
def test_its_command_can_be_typed(name: str) -> None:
    """With the app that the settings name, and the kind of its route."""
    (container,) = pod(_DEPLOYMENTS[name])["containers"]
    app = _SETTINGS["WORKER_APP"]
    words = [app if word == "$(WORKER_APP)" else word for word in container["args"]]
    read = parser_of(words[:1]).parse_whole(words)
    assert read.kind == [_DEPLOYMENTS[name]["metadata"]["labels"]["effectmq.dev/route"]]


@pytest.mark.parametrize("what", ["journal-migrate", "effectmq-ping", "effectmq-dashboard"])
def test_what_else_runs_has_the_addresses_and_the_few_rights_of_a_worker(what: str) -> None:
    """And its command can be typed."""
    jobs = of_kind("Job", _MIGRATION) | of_kind("Deployment", _DASHBOARD)
    jobs |= {name: one["spec"]["jobTemplate"] for name, one in of_kind("CronJob").items()}
    found = pod(jobs[what])
    (container,) = found["containers"]
    parser_of(container["args"][:1]).parse_whole(container["args"])
    worker = pod(_DEPLOYMENTS["worker-tool-call"])
    assert found["securityContext"] == worker["securityContext"]
    for same in ("envFrom", "image", "securityContext"):
        assert container[same] == worker["containers"][0][same]


@each_deployment
def test_its_probes_ask_what_the_worker_serves(name: str) -> None:
    """Where ``--http`` listens; a broker that is away must not restart it."""
    (container,) = pod(_DEPLOYMENTS[name])["containers"]
    (port,) = container["ports"]
    variables = {one["name"]: one.get("value", "") for one in container["env"]}
    assert variables["EFFECTMQ_HTTP"] == f"0.0.0.0:{port['containerPort']}"
    paths = {
        probe: container[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert list(paths.values()) == ["/live", "/live", "/ready"]
    assert {container[probe]["httpGet"]["port"] for probe in paths} == {port["name"]}
    # /ready gives journal and store two seconds each, side by side.
    assert container["readinessProbe"]["timeoutSeconds"] > 2


def test_the_probe_of_the_dashboard_asks_where_no_token_is_needed() -> None:
    """From inside of its pod, where it listens."""
    (container,) = pod(of_kind("Deployment", _DASHBOARD)["effectmq-dashboard"])["containers"]
    *_, program = container["livenessProbe"]["exec"]["command"]
    assert f"http://127.0.0.1:9480{LIVE}'" in program


@each_deployment
def test_it_has_the_time_that_its_worker_takes_to_stop(name: str) -> None:
    """Killed before, its effects would run again elsewhere."""
    spec = pod(_DEPLOYMENTS[name])
    variables = {one["name"]: one.get("value", "") for one in spec["containers"][0]["env"]}
    grace_s = read_duration(variables["EFFECTMQ_SHUTDOWN_GRACE"])
    assert grace_s is not None
    assert spec["terminationGracePeriodSeconds"] >= (
        grace_s + WorkerSettings().kill_grace_s + _LEAVING_S
    )


@each_deployment
def test_it_may_do_little(name: str) -> None:
    """No root, no token of the cluster, no file but /tmp, and no secret in the manifest."""
    spec = pod(_DEPLOYMENTS[name])
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert f"--uid {spec['securityContext']['runAsUser']} " in (ROOT / "Dockerfile").read_text()
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"secretRef": {"name": "effectmq"}} in container["envFrom"]
    assert "memory" in container["resources"]["limits"]


def test_every_variable_is_a_setting() -> None:
    """A slip would be passed over in silence."""
    known = {setting.variable for setting in SETTINGS} | {"WORKER_APP"}
    for one in _DEPLOYMENTS.values():
        (container,) = pod(one)["containers"]
        assert {each["name"] for each in container["env"]} <= known
    assert set(_SETTINGS) <= known
    assert not {"EFFECTMQ_BROKER", "EFFECTMQ_JOURNAL"} & set(_SETTINGS)


@pytest.mark.parametrize("name", of_kind("ScaledObject", _SCALING))
def test_keda_counts_what_waits_and_what_is_in_flight(name: str) -> None:
    """Of the queue of the Deployment's route, over the management API, which alone tells both."""
    spec = of_kind("ScaledObject", _SCALING)[name]["spec"]
    target = _DEPLOYMENTS[spec["scaleTargetRef"]["name"]]
    # Else applying the Deployment again would set back what KEDA chose.
    assert "replicas" not in target["spec"]
    assert 1 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    route = target["metadata"]["labels"]["effectmq.dev/route"]
    assert trigger["type"] == "rabbitmq"
    assert trigger["metadata"] == {
        "protocol": "http",
        "mode": "QueueLength",
        "excludeUnacknowledged": "false",
        "queueName": Names(_SETTINGS["EFFECTMQ_NAMESPACE"]).work_queue(route),
        "value": _SETTINGS["EFFECTMQ_CONCURRENCY"],
    }
    (authentication,) = of_kind("TriggerAuthentication", _SCALING)
    assert trigger["authenticationRef"] == {"name": authentication}
    assert {one["apiVersion"] for one in _SCALING} == {"keda.sh/v1alpha1"}


def test_nothing_but_prometheus_reaches_a_worker() -> None:
    """Its port has no password."""
    (policy,) = of_kind("NetworkPolicy").values()
    chosen = policy["spec"]["podSelector"]["matchLabels"].items()
    for one in _DEPLOYMENTS.values():
        assert chosen <= one["spec"]["template"]["metadata"]["labels"].items()
    (rule,) = policy["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == ["http"]
