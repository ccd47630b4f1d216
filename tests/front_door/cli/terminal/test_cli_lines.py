"""Lines out of files and pipes."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from effectmq.cli.terminal.lines import Line, batches, lines, whole
from effectmq.protocol.errors import ConfigurationError


class Dripping(io.BytesIO):
    """Gives a few bytes at a time, as a slow pipe does."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Three bytes, whatever was asked for."""
        return super().read(3)


def _all(source: io.BytesIO, limit: int = 100) -> list[Line]:
    return [line for batch in batches(source, limit) for line in batch]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"\n", [b""]),
        (b"one\ntwo\r\n\nlast", [b"one", b"two\r", b"", b"last"]),
    ],
)
def test_lines_are_split_at_line_feeds_only(data: bytes, expected: list[bytes]) -> None:
    """However the stream is cut into chunks, and with or without a line feed at the end."""
    for source in (io.BytesIO(data), Dripping(data)):
        found = _all(source)
        assert [line.data for line in found] == expected
        assert [line.number for line in found] == list(range(1, len(expected) + 1))


def test_a_line_that_is_too_long_is_passed_over_and_not_kept() -> None:
    """Its number is still there, its data are not, and the next line is fine."""
    data = b"a\n" + b"x" * 50 + b"\nb\n" + b"y" * 50
    for source in (io.BytesIO(data), Dripping(data)):
        found = _all(source, limit=10)
        assert [(line.number, line.too_long, line.data) for line in found] == [
            (1, False, b"a"),
            (2, True, b""),
            (3, False, b"b"),
            (4, True, b""),
        ]


async def test_lines_come_before_the_pipe_is_closed() -> None:
    """Whoever writes into a pipe is answered while it stays open."""
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb", buffering=0) as source,
        os.fdopen(writing, "wb", buffering=0) as pipe,
    ):
        found = lines(source)
        pipe.write(b"one\n")
        assert (await anext(found)).data == b"one"
        pipe.write(b"two")
        pipe.close()
        assert (await anext(found)).data == b"two"
        with pytest.raises(StopAsyncIteration):
            await anext(found)


def test_a_whole_document_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be one document is refused before it fills the memory."""
    path = tmp_path / "document"
    path.write_bytes(b"one\ntwo")
    assert whole(str(path)) == b"one\ntwo"
    monkeypatch.setattr("effectmq.cli.terminal.lines.MAX_LINE_BYTES", 3)
    with pytest.raises(ConfigurationError, match="is longer than 3 bytes"):
        whole(str(path))


def test_leaving_while_a_pipe_is_read_is_quiet() -> None:
    """A thread that waits for stdin neither keeps the process nor makes Python abort."""
    with subprocess.Popen(
        [sys.executable, "-m", "effectmq", "run", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("not an envelope\n")
        process.stdin.flush()
        assert '"line":1' in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == ""


async def test_a_stream_that_breaks_is_said_in_a_sentence() -> None:
    """What was read before is handed out first."""

    class Broken:
        chunks = iter([b"one\n"])

        def read(self, size: int, /) -> bytes:
            for chunk in self.chunks:
                return chunk
            raise OSError("device lost")

    found = lines(Broken())
    assert (await anext(found)).data == b"one"
    with pytest.raises(ConfigurationError, match="cannot be read: device lost"):
        await anext(found)


async def test_reading_ahead_is_bounded() -> None:
    """A consumer that does not ask keeps the reader from filling the memory."""

    class Endless:
        taken = 0

        def read(self, size: int, /) -> bytes:
            self.taken += 1
            return b"x\n"

    source = Endless()
    found = lines(source)
    for _ in range(20):
        await anext(found)
    assert source.taken < 40
    await found.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "data", [b'\xef\xbb\xbf{"a":1}\r\n2', b"\xef\xbb\xbf", b"\xef\xbb", b"\x00"]
)
def test_a_byte_order_mark_is_no_part_of_the_first_line(data: bytes) -> None:
    """Editors write it; behind the first line it is a character like any other."""
    expected = [line for line in data.removeprefix(codecs.BOM_UTF8).split(b"\n") if line]
    for source in (io.BytesIO(data), Dripping(data)):
        assert [line.data for line in _all(source)] == expected
    assert _all(io.BytesIO(b"1\n\xef\xbb\xbf2"))[1].data == b"\xef\xbb\xbf2"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ('{"a":1}\n'.encode("utf-16"), "UTF-16"),
        ('{"a":1}\n'.encode("utf-16-be"), "UTF-16"),
        ('{"a":1}\n'.encode("utf-16-le"), "UTF-16"),
        (codecs.BOM_UTF16_BE + b"\x00{", "UTF-16"),
        ("[]".encode("utf-32"), "UTF-32"),
        (gzip.compress(b"{}", mtime=0), "gzip"),
        (b"PK\x03\x04....", "zip"),
    ],
)
async def test_what_is_no_utf8_by_its_first_bytes_is_named(
    data: bytes, what: str, tmp_path: Path
) -> None:
    """Each line of it would be a riddle."""
    for source in (io.BytesIO(data), Dripping(data)):
        with pytest.raises(ConfigurationError, match=what):
            _all(source)
    with pytest.raises(ConfigurationError, match=what):
        async for _ in lines(io.BytesIO(data)):
            pass
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ConfigurationError, match=what):
        whole(str(tmp_path / "x"))
