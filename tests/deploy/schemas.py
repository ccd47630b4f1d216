"""
The JSON Schemas of Kubernetes' objects, out of the wheel of ``kubernetes-validate``.

The wheel is fetched into the cache and read as it is: installed it has 17,000 files for every
release of Kubernetes, and five of them are needed.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.brokers.finding import Unavailable

__all__ = ["OBJECTS", "KubernetesSchemas", "find_schemas"]

_REQUIREMENT = (
    "kubernetes-validate==1.37.0 "
    "--hash=sha256:85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9\n"
)
_WHEEL = "kubernetes_validate-1.37.0-py3-none-any.whl"
_SECONDS = 100.0

#: The file of each object that the manifests have.
OBJECTS = {
    ("v1", "ConfigMap"): "configmap-v1",
    ("v1", "Namespace"): "namespace-v1",
    ("batch/v1", "CronJob"): "cronjob-batch-v1",
    ("batch/v1", "Job"): "job-batch-v1",
    ("apps/v1", "Deployment"): "deployment-apps-v1",
    ("networking.k8s.io/v1", "NetworkPolicy"): "networkpolicy-networking-v1",
    ("policy/v1", "PodDisruptionBudget"): "poddisruptionbudget-policy-v1",
}


class KubernetesSchemas:
    """
    The schemas of one release; a member that it does not know is an error.

    Args:
        wheel: The file that has them.
        release: For instance ``1.37``.
    """

    def __init__(self, wheel: Path, release: str) -> None:
        folder = f"kubernetes_validate/kubernetes-json-schema/v{release}.0-local-strict"
        with ZipFile(wheel) as opened:
            read = {
                name: json.loads(opened.read(f"{folder}/{name}.json"))
                for name in (*OBJECTS.values(), "_definitions")
            }
        definitions = Resource(read.pop("_definitions"), DRAFT202012)
        registry: Registry[Any] = Registry().with_resource("/api/_definitions.json", definitions)
        self._of = {
            name: Draft202012Validator(schema, registry=registry) for name, schema in read.items()
        }

    def problems(self, document: dict[str, Any]) -> list[str]:
        """A sentence for each thing that the API server would refuse."""
        name = OBJECTS[document["apiVersion"], document["kind"]]
        return [
            f"{document['kind']} {document['metadata']['name']}: {error.json_path}: {error.message}"
            for error in self._of[name].iter_errors(document)
        ]


def find_schemas() -> Path:
    """
    The wheel, fetched the first time.

    Raises:
        Unavailable: When it cannot be fetched.
    """
    cache = Path("~/.cache/effectmq").expanduser()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "schemas.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / _WHEEL).exists():
            _fetch(cache)
    return cache / _WHEEL


def _fetch(cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text(_REQUIREMENT)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        pip += ["--retries", "1", "--timeout", "15"]
        try:
            done = subprocess.run(
                [*pip, "download", "--no-deps", "--require-hashes", "-d", folder, "-r", wanted],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable("pip takes too long to fetch kubernetes-validate") from None
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise Unavailable(f"pip cannot fetch kubernetes-validate: {last}")
        Path(folder, _WHEEL).replace(cache / _WHEEL)
