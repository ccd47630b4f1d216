"""
What every test can ask for: real brokers, and a name that nobody else uses.

Nothing is started or looked for unless a test asks. ``tests/brokers`` has the machinery;
``tests/brokers/settings.py`` says which variables choose the brokers.
"""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
from collections.abc import Callable, Generator
from typing import TypeVar

import pytest

from tests.brokers.finding import Installation, Unavailable
from tests.brokers.node import BrokerNode
from tests.brokers.provide import Broker, Brokers, label
from tests.brokers.settings import Settings, read_settings
from tests.brokers.sweep import sweep
from tests.databases.fixtures import (
    database_url,
    databases,
    keep_database_settings,
    pooled_url,
    pooler,
    postgres_url,
    private_postgres,
    shared_database_url,
)

#: Fixtures that are defined elsewhere.
__all__ = [
    "database_url",
    "databases",
    "pooled_url",
    "pooler",
    "postgres_url",
    "private_postgres",
    "shared_database_url",
]

_STATE = tempfile.mkdtemp(prefix="effectmq-tests-")

_SETTINGS = pytest.StashKey[Settings]()

#: The fixtures that start a server for the tests to stop, kill, or give users: one that is only
#: known by its address does not serve.
_OWN_SERVERS = frozenset(
    {"cluster", "installation", "node", "pooler", "private_broker", "private_postgres"}
)

# A scenario starts and kills real processes; it must be bounded, but not by a unit test's bound.
_SCENARIO_SECONDS = 300

Found = TypeVar("Found")


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings, then clear the environment, so that no test depends on the shell."""
    try:
        config.stash[_SETTINGS] = read_settings(os.environ)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    keep_database_settings(config)
    _clear_environment()
    _hear_interrupts()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that needs a broker once for each wanted one, or for the first of them."""
    if "broker_name" in metafunc.fixturenames:
        settings = metafunc.config.stash[_SETTINGS]
        one = metafunc.definition.get_closest_marker("one_broker") is not None
        wanted = settings.wanted[:1] if one else settings.wanted
        ids = [label(settings, name) for name in wanted]
        metafunc.parametrize("broker_name", wanted, ids=ids, scope="session")


def on_every_broker(metafunc: pytest.Metafunc, fixture: str) -> None:
    """Run a test in memory, and on each broker that the session wants, by the fixture's name."""
    if fixture in metafunc.fixturenames:
        settings = metafunc.config.stash[_SETTINGS]
        legs = [pytest.param("memory", id="memory")]
        legs += [
            pytest.param(name, id=f"amqp-{label(settings, name)}", marks=pytest.mark.rabbitmq)
            for name in settings.wanted
        ]
        metafunc.parametrize(fixture, legs, scope="session")


@pytest.hookimpl(tryfirst=True)  # before "-m" looks at the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a broker, and give scenarios the time that they need."""
    for item in items:
        if "broker_name" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.rabbitmq)
        if {"postgres_url", "private_postgres"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.postgres)
        if _OWN_SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.own_server)
        if item.get_closest_marker("scenario") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_SCENARIO_SECONDS))


@pytest.fixture(autouse=True)
def _own_environment() -> None:
    """A variable that one test left behind must not configure the next one."""
    _clear_environment()


@pytest.fixture(scope="session")
def brokers(pytestconfig: pytest.Config) -> Generator[Brokers]:
    """Where brokers come from; all of them are stopped with the session."""
    provider = Brokers(pytestconfig.stash[_SETTINGS])
    try:
        yield provider
    finally:
        provider.close()


@pytest.fixture(scope="session")
def broker(brokers: Brokers, broker_name: str, pytestconfig: pytest.Config) -> Broker:
    """
    A running RabbitMQ that all tests share: ``url`` and ``version``.

    Use ``namespace`` for names, and leave it as it was; to break it, take ``private_broker``.
    """
    return _have(pytestconfig, brokers.shared, broker_name)


@pytest.fixture(scope="session")
def installation(brokers: Brokers, broker_name: str, pytestconfig: pytest.Config) -> Installation:
    """The programs of the RabbitMQ under test, for a test that makes its nodes itself."""
    return _have(pytestconfig, brokers.installation, broker_name)


@pytest.fixture
def private_broker(
    brokers: Brokers, broker_name: str, pytestconfig: pytest.Config
) -> Generator[BrokerNode]:
    """A running RabbitMQ node for this test alone, to kill, freeze or fill."""
    node = _have(pytestconfig, brokers.private, broker_name)
    try:
        yield node
    finally:
        node.close()


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Generator[str]:
    """A short random name for this test; what it declares under it is removed afterwards."""
    name = f"t-{secrets.token_hex(3)}"
    shared: Broker | None = None
    if "broker" in request.fixturenames:
        shared = request.getfixturevalue("broker")
    yield name
    if shared is not None:
        sweep(shared.url, name)


def _hear_interrupts() -> None:
    # A shell starts what it runs in the background with SIGINT ignored, and children inherit that:
    # tests that interrupt a process must not depend on how they themselves were started.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _clear_environment() -> None:
    for name in [name for name in os.environ if name.startswith("EFFECTMQ_")]:
        del os.environ[name]
    # A worker without arguments keeps its journal among the user's state: never the real one, and
    # never that of another test.
    os.environ["XDG_STATE_HOME"] = f"{_STATE}/{secrets.token_hex(4)}"


def _have(config: pytest.Config, get: Callable[[str], Found], name: str) -> Found:
    """The broker; without one the test is skipped on a laptop and fails where CI is set."""
    try:
        return get(name)
    except Unavailable as error:
        if config.stash[_SETTINGS].strict:
            pytest.fail(f"RabbitMQ {name} is not available: {error}", pytrace=False)
        pytest.skip(f"RabbitMQ {name} is not available: {error}")
