"""
Hands out the session's brokers: one shared node for each name, private ones on demand.

The default broker is, in this order: the address in the environment; this machine's
``rabbitmq-server``, as a private node; the same after ``apt-get install``, for root on Debian; the
one of docker-compose.yml, when a Docker engine answers. A named version is this machine's when it
is that version, and otherwise comes out of a folder made by debootstrap.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.brokers.cluster import BrokerCluster
from tests.brokers.finding import (
    Installation,
    Unavailable,
    build_folder,
    existing_folder,
    install_with_apt,
    installed_on_path,
)
from tests.brokers.greeting import greet
from tests.brokers.node import BrokerNode, NodeError, free_ports
from tests.brokers.settings import DEFAULT, Settings

__all__ = ["Broker", "BrokerAddress", "Brokers", "label", "prepare"]

_ROOT = Path(__file__).parents[2]
_COMPOSE_SECONDS = 300.0
_ENGINE_SECONDS = 10.0

Found = TypeVar("Found")
Failure = Unavailable | NodeError


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A running broker that is not ours: it may be used, but neither stopped nor asked."""

    url: str
    version: str


#: What a test gets: a node of ours, or a broker at an address.
Broker = BrokerNode | BrokerAddress


def label(settings: Settings, name: str) -> str:
    """What to call a wanted broker in test names: its full version where a look at files tells."""
    if name == DEFAULT and settings.address is not None:
        return "address"
    with contextlib.suppress(Unavailable):
        found = installed_on_path()
        if found is not None and _serves(found, name):
            return found.version
        folder = None if name == DEFAULT else existing_folder(name, settings.cache)
        if folder is not None:
            return folder.version
    return name


def prepare(settings: Settings) -> dict[str, str]:
    """
    Install what the wanted brokers need, ahead of the tests and outside of their time limits.

    Returns:
        For each wanted broker the sentence why it cannot be had; empty when all is well.
    """
    problems: dict[str, str] = {}
    for name in settings.wanted:
        try:
            if name == DEFAULT and settings.address is not None:
                _at(settings.address)
            else:
                _installation(settings, name)
        except Unavailable as error:
            if name != DEFAULT or not _engine_answers():
                problems[name] = str(error)
    return problems


class Brokers:
    """All brokers of one test session; nothing is started before it is asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._installations: dict[str, Installation | Failure] = {}
        self._shared: dict[str, Broker | Failure] = {}
        self._private: list[BrokerNode] = []
        self._closing = contextlib.ExitStack()

    def shared(self, name: str) -> Broker:
        """
        The one broker of this name that lives until :meth:`close`; tests share it.

        Raises:
            Unavailable: When it cannot be had; asked again, with the same answer at once.
        """
        return _once(self._shared, name, lambda: self._make_shared(name))

    def private(self, name: str) -> BrokerNode:
        """
        A node of its own, running, for a test that breaks it; the caller closes it.

        Raises:
            Unavailable: When it cannot be had. A broker at an address, or in a container, cannot
                stand in: it is not ours to kill.
        """
        node = BrokerNode(self.installation(name))
        self._closing.callback(node.close)
        node.start()
        return node

    def cluster(self, name: str) -> BrokerCluster:
        """
        Three nodes that are one broker, running; the caller closes them.

        Raises:
            Unavailable: When they cannot be had.
        """
        cluster = BrokerCluster(self.installation(name))
        self._closing.callback(cluster.close)
        cluster.start()
        return cluster

    def installation(self, name: str) -> Installation:
        """
        The programs of this name's RabbitMQ, for a test that makes nodes itself.

        Raises:
            Unavailable: When there are none.
        """
        return _once(self._installations, name, lambda: _installation(self._settings, name))

    def close(self) -> None:
        """Stop everything that was started, whatever state it is in."""
        self._closing.close()

    def _make_shared(self, name: str) -> Broker:
        if name != DEFAULT:
            return self.private(name)
        if self._settings.address is not None:
            return _at(self._settings.address)
        try:
            return self.private(name)
        except Unavailable as no_node:
            try:
                return self._compose()
            except Unavailable as no_container:
                raise Unavailable(
                    f"{no_node}; {no_container}; install rabbitmq-server, or name a running "
                    "broker in EFFECTMQ_TEST_BROKER"
                ) from None

    def _compose(self) -> BrokerAddress:
        """The container of docker-compose.yml, under a project name of its own."""
        user, password = "effectmq", secrets.token_hex(16)
        port, management = free_ports(2)
        project = f"effectmq-tests-{secrets.token_hex(4)}"
        environment = {"RABBITMQ_USER": user, "RABBITMQ_PASSWORD": password}
        environment |= {"RABBITMQ_PORT": str(port), "RABBITMQ_MANAGEMENT_PORT": str(management)}
        environment |= {"POSTGRES_PASSWORD": secrets.token_hex(16)}  # not started, but demanded
        compose = ["docker", "compose", "--project-name", project, "--file", "docker-compose.yml"]
        _docker(["docker", "info"], {}, _ENGINE_SECONDS)  # asked first: it fails fast and says why
        down = [*compose, "down", "--volumes", "--timeout", "5"]
        self._closing.callback(_docker, down, environment, _COMPOSE_SECONDS)
        _docker([*compose, "up", "--detach", "--wait", "rabbitmq"], environment, _COMPOSE_SECONDS)
        return _at(f"amqp://{user}:{password}@127.0.0.1:{port}/")


def _installation(settings: Settings, name: str) -> Installation:
    found = installed_on_path()
    if found is not None and _serves(found, name):
        return found
    return install_with_apt() if name == DEFAULT else build_folder(name, settings.cache)


def _serves(installation: Installation, name: str) -> bool:
    return name == DEFAULT or installation.version.startswith(f"{name}.")


def _at(url: str) -> BrokerAddress:
    try:
        return BrokerAddress(url, greet(url, timeout=5.0).version)
    except OSError as error:
        place = url.rpartition("@")[2]  # never the password
        raise Unavailable(
            f"no AMQP broker answers at {place}, which the environment names: {error}"
        ) from error


def _engine_answers() -> bool:
    try:
        _docker(["docker", "info"], {}, _ENGINE_SECONDS)
    except Unavailable:
        return False
    return True


def _docker(command: list[str], environment: dict[str, str], timeout: float) -> None:
    try:
        subprocess.run(
            command,
            cwd=_ROOT,
            env={**os.environ, **environment},
            check=True,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except FileNotFoundError:
        raise Unavailable("there is no docker command") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Unavailable(f"'{' '.join(command[:2])}' does not work here: {last}") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"'{' '.join(command[:2])}' took more than {timeout:.0f} s") from None


def _once(known: dict[str, Found | Failure], name: str, make: Callable[[], Found]) -> Found:
    """Make it the first time; afterwards the same thing, or the same failure, at once."""
    if name not in known:
        try:
            known[name] = make()
        except (Unavailable, NodeError) as error:
            known[name] = error
    found = known[name]
    if isinstance(found, (Unavailable, NodeError)):
        raise type(found)(str(found))
    return found
