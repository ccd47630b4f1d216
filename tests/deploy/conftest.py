"""The tools that the tests of deploy/ ask."""

from __future__ import annotations

import pytest

from tests.databases.fixtures import have
from tests.deploy.promtool import Promtool, find_promtool


@pytest.fixture(scope="session")
def promtool(pytestconfig: pytest.Config) -> Promtool:
    """Prometheus' own checker; without it the test is skipped on a laptop and fails in CI."""
    return have(pytestconfig, find_promtool)
