"""What a bucket that cannot be used looks like: sentences, and no secret in any of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from effectmq.broker.store.attachments import AttachmentSettings, open_attachments
from effectmq.protocol.errors import AttachmentStoreError, ConfigurationError
from tests.conformance.s3_server import CREDENTIALS


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in CREDENTIALS.items():
        monkeypatch.setenv(variable, value)


def error_document(code: str) -> bytes:
    """What a server answers, with all that it likes to repeat."""
    key = CREDENTIALS["AWS_ACCESS_KEY_ID"]
    secret = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
    return (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no {secret}</Message>"
        f"<AWSAccessKeyId>{key}</AWSAccessKeyId></Error>"
    ).encode()


@asynccontextmanager
async def answering(status: str, body: bytes) -> AsyncIterator[int]:
    """A server that gives everybody the same answer; gives its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def opening_error(port: int, timeout_s: float = 5.0) -> str:
    """What opening a store there says."""
    url = f"s3://bucket/p?endpoint=http://127.0.0.1:{port}"
    store = open_attachments(url, AttachmentSettings(timeout_s=timeout_s))
    assert store is not None
    with pytest.raises(AttachmentStoreError) as failed:
        await store.__aenter__()
    text = str(failed.value)
    assert text.startswith("the attachment store s3://bucket/p ")
    assert not any(value in text for value in CREDENTIALS.values())
    assert failed.value.__cause__ is None
    assert len(text) < 300
    return text


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        ("404 Not Found", "NoSuchBucket", "the bucket does not exist; create it"),
        ("403 Forbidden", "AccessDenied", "allow s3:GetObject"),
        ("403 Forbidden", "InvalidAccessKeyId", "check AWS_ACCESS_KEY_ID"),
        ("403 Forbidden", "SignatureDoesNotMatch", "check AWS_SECRET_ACCESS_KEY"),
        ("400 Bad Request", "SomethingElse", "the server answered SomethingElse"),
    ],
)
async def test_what_the_server_refuses_says_what_to_do(status: str, code: str, advice: str) -> None:
    """The code only; the rest of an error document repeats too much."""
    async with answering(status, error_document(code)) as port:
        assert advice in await opening_error(port)


async def test_an_answer_that_is_no_error_document_is_told_by_its_status() -> None:
    """For instance of a proxy."""
    async with answering("405 Method Not Allowed", b"<html>go away") as port:
        assert "the server answered 405" in await opening_error(port)


async def test_a_server_that_is_not_there_cannot_be_reached() -> None:
    """Tried a few times, then told."""
    async with answering("200 OK", b"") as port:
        pass
    assert "could not be reached" in await opening_error(port)


async def test_a_server_that_never_answers_is_not_waited_for() -> None:
    """No operation takes longer than its time limit."""
    lines: list[asyncio.StreamWriter] = []

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(writer)

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        text = await opening_error(server.sockets[0].getsockname()[1], timeout_s=0.2)
        for line in lines:
            line.close()
            await line.wait_closed()
    assert "did not answer within 0.2 s" in text


def test_a_variable_that_the_client_does_not_accept_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its value may be a secret, so only that it is one of them."""
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "perhaps")
    with pytest.raises(ConfigurationError, match="a variable AWS_"):
        open_attachments("s3://bucket")
