"""Addresses of attachment stores, right and wrong."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import pytest

from effectmq.broker.store.attachments import AttachmentSettings, open_attachments
from effectmq.protocol.errors import ConfigurationError, MissingExtraError

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("url", ["", "none"])
def test_no_store_is_no_store(url: str) -> None:
    """Nothing set, and none on purpose."""
    assert open_attachments(url) is None


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("memory://", "memory://"),
        ("memory://a/b", "memory://a/b"),
        ("file:///var/lib/effects", "file:///var/lib/effects"),
        ("file://localhost/a%20b", "file:///a b"),
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/a/b/?endpoint=http://127.0.0.1:9&region=eu", "s3://bucket/a/b"),
    ],
)
def test_an_address_names_a_place(url: str, where: str) -> None:
    """Nothing is touched before the store is used."""
    store = open_attachments(url)
    assert store is not None
    assert store.where == where


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("/var/lib/effects", "begins with ''"),
        ("gs://bucket", "begins with 'gs'"),
        ("file://relative/path", "names no directory"),
        ("file:///", "names no directory"),
        ("file:///a%00b", "names no directory"),
        ("file:///a?x=1", "has the parameter 'x'"),
        ("memory://a?region=x", "has the parameter region, which memory:// does not have"),
        ("memory://a?fetches=1&fetches=2", "has the parameter fetches twice"),
        ("memory://a?fetches=many", "has a fetches that is no number"),
        ("memory://a?fetches=1;key=hunter2", "has a fetches that is no number"),
        ("memory://a?fetches=-1", "has a fetches that is no number"),
        ("memory://a?fetches=1.5", "fetches is 1.5"),
        ("memory://a?timeout_s=0", "timeout_s is 0; expected seconds above 0"),
        ("memory://a?timeout_s=1e9", "has a timeout_s that is no number"),
        ("memory://a?max_body_bytes=268435457", "max_body_bytes is 268435457; expected"),
        ("s3://", "names no bucket"),
        ("s3://b?secret_access_key=hunter2", "credentials never belong there"),
        ("s3://b?endpoint=127.0.0.1", "has an endpoint that is not"),
        ("s3://b?endpoint=http://u:hunter2@h", "has an endpoint that is not"),
        ("s3://b?region", "cannot be taken apart"),
        ("s3://b#x", "has a part after '#'"),
        ("s3://key:hunter2@b", "holds a user or a password"),
        ("file://[::1", "cannot be taken apart"),
    ],
)
def test_a_wrong_address_is_a_sentence_without_secrets(url: str, problem: str) -> None:
    """It says what is wrong and never shows the address."""
    with pytest.raises(ConfigurationError) as refused:
        open_attachments(url)
    assert problem in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("url", ["memory://a", "file:///a", "s3://b?region=eu"])
def test_every_setting_is_a_parameter_of_an_address(url: str) -> None:
    """It has no row in the table of settings: the address is the one that is set there."""
    numbers = AttachmentSettings(
        body_threshold_bytes=7, max_body_bytes=8, max_attachment_bytes=9, timeout_s=2.5, fetches=3
    )
    every = "&".join(f"{each.name}={getattr(numbers, each.name)}" for each in fields(numbers))
    plain, store = (
        open_attachments(url),
        open_attachments(f"{url}{'&' if '?' in url else '?'}{every}"),
    )
    assert plain is not None
    assert store is not None
    assert store.settings == numbers
    assert store.where == plain.where
    page = (ROOT / "docs" / "attachments.md").read_text()
    assert all(f"`{each.name}`" in page for each in fields(numbers))


def test_s3_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others need none."""
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'effectmq\[s3\]'"):
        open_attachments("s3://bucket")
    assert open_attachments(f"file://{Path.cwd()}") is not None


@pytest.mark.parametrize(
    "settings",
    [
        {"body_threshold_bytes": 0},
        {"body_threshold_bytes": 8 * 1024 * 1024 + 1},
        {"max_body_bytes": 256 * 1024 * 1024 + 1},
        {"max_attachment_bytes": 0},
        {"timeout_s": 0},
        {"fetches": 0},
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, int]) -> None:
    """By name."""
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        AttachmentSettings(**settings)
