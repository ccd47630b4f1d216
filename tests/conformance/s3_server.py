"""A server that speaks the protocol of S3, in a process of its own on this machine."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["CREDENTIALS", "create_bucket", "s3_server"]

#: What the client library finds in the environment; the server takes anybody.
CREDENTIALS: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00",
    "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see",
    "AWS_REGION": "us-east-1",
}

_ADDRESS = re.compile(rb"Running on http://127\.0\.0\.1:(\d+)")


@contextmanager
def s3_server(folder: Path) -> Generator[int]:
    """Start it, and stop it; gives its port."""
    log = folder / "s3.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield _port(process, log)
    finally:
        process.kill()
        process.wait()


def create_bucket(port: int, bucket: str) -> None:
    """Create a bucket."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("PUT", f"/{bucket}")
    assert connection.getresponse().status == 200
    connection.close()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Wait until it says where it listens."""
    while True:
        found = _ADDRESS.search(log.read_bytes())
        if found is not None:
            return int(found[1])
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"the S3 server did not start: {log.read_text()}")
