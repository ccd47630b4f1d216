"""The attachment store as the front door finds it: an argument, else the environment, else none."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from effectmq import Client
from effectmq.broker.store.attachments import open_attachments
from effectmq.cli.arguments.options import bodies_of
from effectmq.protocol.errors import ConfigurationError


def where(client: Client) -> str | None:
    """The place of a client's store."""
    return client.attachments.where if client.attachments else None


def test_nothing_set_is_no_store() -> None:
    """As before there were any."""
    assert where(Client()) is None
    assert bodies_of(argparse.Namespace(namespace=None)) is None


def test_an_argument_beats_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An address, a store, or none on purpose."""
    monkeypatch.setenv("EFFECTMQ_ATTACHMENTS", f"file://{tmp_path}")
    assert where(Client()) == f"file://{tmp_path}"
    assert where(Client(attachments="memory://a")) == "memory://a"
    assert where(Client(attachments=open_attachments("memory://b"))) == "memory://b"
    assert where(Client(attachments="none")) is None
    bodies = bodies_of(argparse.Namespace(namespace=None))
    assert bodies is not None
    assert bodies.store.where == f"file://{tmp_path}"


def test_a_variable_that_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a client is made, not when it first needs it."""
    monkeypatch.setenv("EFFECTMQ_ATTACHMENTS", "ftp://x")
    with pytest.raises(ConfigurationError, match="address of the attachment store"):
        Client()
