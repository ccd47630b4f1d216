"""Transport settings are checked when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.broker.transports.settings import DEFAULT_SETTINGS, TransportSettings
from effectmq.protocol.errors import ConfigurationError


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("connect_timeout_s", 0),
        ("publish_timeout_s", -1),
        ("reconnect_max_s", 0),
        ("heartbeat_s", 0),
        ("publish_window", 0),
        ("max_body_bytes", 0),
        ("max_body_bytes", 8 * 1024 * 1024 + 1),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(setting: str, value: Any) -> None:
    """A timeout of zero, or a body that RabbitMQ answers with a closed channel, never starts."""
    with pytest.raises(ConfigurationError, match=f"{setting} is {value}"):
        TransportSettings(**{setting: value})


def test_the_largest_body_is_eight_mebibytes() -> None:
    """The hard limit itself is allowed; the default is 1 MiB."""
    assert TransportSettings(max_body_bytes=8 * 1024 * 1024).max_body_bytes == 8 * 1024 * 1024
    assert DEFAULT_SETTINGS.max_body_bytes == 1024 * 1024
