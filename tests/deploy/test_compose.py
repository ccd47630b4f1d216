"""The compose file: its health checks, and what it gives to Prometheus and Grafana."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from asyncio import create_subprocess_exec
from typing import Any

import pytest
import yaml

from effectmq import Worker
from effectmq.api.access.tokens import Tokens, Who
from effectmq.protocol.errors import AttachmentStoreError
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.settings.table import SETTINGS
from tests.consumers.stage import logged
from tests.deploy.names import ROOT

_SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


async def healthy(port: int) -> bool:
    """What the check of a worker says, asked at another port."""
    (same,) = {json.dumps(_SERVICES[kind]["healthcheck"]["test"]) for kind in EFFECT_KINDS}
    how, program, *arguments = json.loads(same.replace(":9464/", f":{port}/"))
    assert (how, program) == ("CMD", "python")
    asked = await create_subprocess_exec(
        sys.executable, *arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    return await asked.wait() == 0


async def test_a_worker_is_healthy_while_it_is_ready(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while what it needs is away, and not when it is gone."""
    caplog.set_level("INFO")
    worker = Worker(
        "memory://compose", http="127.0.0.1:0", journal="none", attachments="memory://compose"
    )

    async def full() -> None:
        raise AttachmentStoreError("the disk is full")

    async with worker:
        (record,) = logged(caplog, "http_served")
        port: int = record.port  # type: ignore[attr-defined]
        assert await healthy(port)
        monkeypatch.setattr(worker.attachments, "check", full)
        assert not await healthy(port)
    assert not await healthy(port)


def test_workers_listen_where_their_check_and_prometheus_ask() -> None:
    """Inside of the network of the services; no port of a worker is published."""
    for kind in EFFECT_KINDS:
        assert _SERVICES[kind]["environment"]["EFFECTMQ_HTTP"] == "0.0.0.0:9464"
        assert "ports" not in _SERVICES[kind]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "ARG EXTRAS=postgres,code,dashboard,http\n" in dockerfile


def test_what_prometheus_and_grafana_mount_is_there() -> None:
    """Only for who asks for them, and only for this machine."""
    for name in ("prometheus", "grafana"):
        service = _SERVICES[name]
        assert service["profiles"] == ["monitoring"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        mounts = [mount for mount in service["volumes"] if mount.startswith("./")]
        assert mounts
        for mount in mounts:
            source, _, mode = mount.split(":")
            assert (ROOT / source).exists()
            assert mode == "ro"


def test_the_dashboard_is_for_who_has_a_token() -> None:
    """The one of the example, which its settings take."""
    service = _SERVICES["dashboard"]
    assert service["profiles"] == ["monitoring"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    example = (ROOT / ".env.example").read_text()
    (text,) = re.findall(r"^EFFECTMQ_API_TOKENS=(.*)$", example, re.MULTILINE)
    tokens = Tokens.read(text)
    assert tokens.who(text.rpartition(":")[2]) == Who("me", "operate")
    known = {setting.variable for setting in SETTINGS}
    own = {name for name in service["environment"] if name.startswith("EFFECTMQ_")}
    assert own <= known


def _compose() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30)
    return asked.returncode == 0


@pytest.mark.skipif(not _compose(), reason="there is no docker compose here")
def test_docker_compose_can_read_it() -> None:
    """With the settings of the example, and with those who watch."""
    options = ["--env-file", ".env.example", "--profile", "monitoring"]
    subprocess.run(
        ["docker", "compose", *options, "config", "--quiet"],
        cwd=ROOT,
        env=os.environ,
        check=True,
        timeout=60,
    )
