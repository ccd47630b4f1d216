"""Settings that are no numbers are refused with a sentence, whichever they are."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

import pytest

from effectmq import TransportSettings, WorkerSettings
from effectmq.broker.store.attachments.settings import AttachmentSettings
from effectmq.consumers.code.settings import CodeSettings
from effectmq.consumers.handler import check_time_limit
from effectmq.consumers.processes import ProcessRunnerSettings
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.topology import TopologySettings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_SETTINGS: tuple[type[DataclassInstance], ...] = (
    TransportSettings,
    WorkerSettings,
    CodeSettings,
    ProcessRunnerSettings,
    TopologySettings,
    AttachmentSettings,
)
_NUMBERS = [
    pytest.param(settings, each.name, str(each.type), id=f"{settings.__name__}.{each.name}")
    for settings in _SETTINGS
    for each in fields(settings)
    if each.default is not MISSING and str(each.type).split(" | ")[0] in ("int", "float")
]
_WRONG: list[object] = [None, "5", b"5", True, [], {}, math.nan, -1]


@pytest.mark.parametrize(("settings", "name", "kind"), _NUMBERS)
def test_what_is_no_number_is_refused_with_its_name(
    settings: type[DataclassInstance], name: str, kind: str
) -> None:
    """Nothing of it is compared with a number before, which would raise Python's own error."""
    wrong = [each for each in _WRONG if not (each is None and "None" in kind)]
    wrong += [1.5, math.inf] if kind.startswith("int") else [-math.inf]
    for value in wrong:
        made: Any = settings
        with pytest.raises(ConfigurationError, match=name):
            made(**{name: value})


@pytest.mark.parametrize("value", [5, "ab", {"tool_call": "5"}, {"tool_call": None}])
def test_what_is_no_table_of_numbers_is_refused(value: Any) -> None:
    """Numbers inside of other settings are checked alike."""
    with pytest.raises(ConfigurationError, match="route_concurrency"):
        WorkerSettings(route_concurrency=value)


@pytest.mark.parametrize("value", [None, 5, "5", (1, None), (1.5, 2), [True, 2], ()])
def test_what_are_no_delay_levels_is_refused(value: Any) -> None:
    """The same for those of an installation."""
    with pytest.raises(ConfigurationError, match="delay_levels_ms"):
        TopologySettings(delay_levels_ms=value)


def test_a_whole_number_is_a_number() -> None:
    """Seconds may be written without a point."""
    assert TransportSettings(connect_timeout_s=5).connect_timeout_s == 5
    with pytest.raises(ConfigurationError, match="heartbeat_s is 65536; expected 65535 at most"):
        TransportSettings(heartbeat_s=65_536)


@pytest.mark.parametrize("value", ["5", math.nan, 0, -1, True])
def test_a_time_limit_of_a_tool_is_seconds(value: Any) -> None:
    """Whatever registers something with one."""
    with pytest.raises(ConfigurationError, match="tool add"):
        check_time_limit("tool add", value)
