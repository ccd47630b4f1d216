"""Masking passwords in URLs."""

from __future__ import annotations

import pytest

from effectmq.broker.urls import mask_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://user:secret@host:5672/vhost", "amqp://user:***@host:5672/vhost"),
        ("amqps://user:secret@host/", "amqps://user:***@host/"),
        ("amqp://:secret@host", "amqp://:***@host"),
        ("amqp://user:@host", "amqp://user:***@host"),
        ("amqp://user@host:5672/", "amqp://user@host:5672/"),
        ("amqp://host:5672/", "amqp://host:5672/"),
        ("postgresql://u:secret@/db?host=/run", "postgresql://u:***@/db?host=/run"),
        (
            "postgresql://h/db?user=u&password=secret&x=1",
            "postgresql://h/db?user=u&password=***&x=1",
        ),
        ("https://h/?access_token=secret", "https://h/?access_token=***"),
        ("sqlite:///effects.db", "sqlite:///effects.db"),
        ("memory://", "memory://"),
        ("", ""),
        ("no url", "no url"),
    ],
)
def test_only_the_password_is_masked(url: str, expected: str) -> None:
    """Host, port, user and the rest stay, because they are what one needs to find the mistake."""
    assert mask_url(url) == expected


@pytest.mark.parametrize("password", ["se@cret", "se/cret", "se?cret", "se#cret", "se:cret", "\n@"])
def test_a_password_that_was_not_escaped_is_masked_whole(password: str) -> None:
    """A URL that no parser takes apart correctly must not show the rest of its password."""
    assert mask_url(f"amqp://user:{password}@host:5672/") == "amqp://user:***@host:5672/"


def test_a_url_with_a_slash_too_few_is_masked_all_the_same() -> None:
    """What is shown in an error is often a URL that is wrong."""
    assert "hunter2" not in mask_url("amqp:/agent:hunter2@broker/vhost")
