"""
What ``kubectl kustomize`` makes of a folder, for as much of it as deploy/kubernetes uses.

kubectl is in no registry that CI has; where it is installed, a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

__all__ = ["Object", "kustomized"]

Object = dict[str, Any]

_KNOWN = {"apiVersion", "kind", "namespace", "resources", "nameSuffix", "labels", "patches"}


def kustomized(folder: Path) -> list[Object]:
    """The objects of a folder and of those that it names, changed as it says."""
    said: Object = yaml.safe_load((folder / "kustomization.yml").read_text())
    unknown = set(said) - _KNOWN
    assert not unknown, f"{folder}: teach this file {unknown}, or leave it out"
    found = list(_resources(folder, said))
    for one in found:
        _change(one, said)
    return found


def _resources(folder: Path, said: Object) -> Iterator[Object]:
    for name in said["resources"]:
        path = folder / name
        if path.is_dir():
            yield from kustomized(path)
        else:
            yield from yaml.safe_load_all(path.read_text())


def _change(one: Object, said: Object) -> None:
    about = one["metadata"]
    for patch in said.get("patches", ()):
        if patch["target"]["kind"] == one["kind"]:
            jsonpatch.apply_patch(one, yaml.safe_load(patch["patch"]), in_place=True)
    about["name"] += said.get("nameSuffix", "")
    if "namespace" in said and one["kind"] != "Namespace":
        about["namespace"] = said["namespace"]
    for labels in said.get("labels", ()):
        assert labels["includeSelectors"]
        about.setdefault("labels", {}).update(labels["pairs"])
        for place in _selectors(one):
            place.update(labels["pairs"])


def _selectors(one: Object) -> Iterator[Object]:
    spec = one["spec"]
    yield spec["selector"]["matchLabels"]
    if "template" in spec:
        yield spec["template"]["metadata"]["labels"]
        for spread in spec["template"]["spec"]["topologySpreadConstraints"]:
            yield spread["labelSelector"]["matchLabels"]
