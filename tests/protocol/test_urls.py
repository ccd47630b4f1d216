"""Masking passwords in URLs."""

from __future__ import annotations

import pytest

from effectmq.protocol.urls import hide_secrets, mask_url


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


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:s3cret@host/db", 'failed for "s3cret"'),
        ("postgresql://me:s3%63ret@host/db", 'failed for "s3cret" or "s3%63ret"'),
        ("postgresql://me:half@s3cret@host/db", "could not resolve s3cret@host"),
        ("postgresql://me:half/s3cret@host/db", 'invalid port "half", s3cret'),
        ("postgresql://me@host/db?password=s3cret&x=1", "password=s3cret"),
    ],
)
def test_what_a_library_says_is_shown_without_the_password(url: str, said: str) -> None:
    """Nor the half of it that the library took for something else."""
    shown = hide_secrets(said, url)
    assert "s3cret" not in shown
    assert "half" not in shown
    assert "***" in shown


def test_what_has_no_password_is_shown_as_it_is() -> None:
    """Nothing is hidden that is no secret."""
    assert hide_secrets("no host db", "postgresql://me@host/db") == "no host db"
