"""
The first frame of an AMQP server: proof that it is up, and which RabbitMQ it is.

A TCP connection alone proves nothing: a frozen broker accepts it, and so does a proxy in front of
a dead one. The answer to the protocol header is the earliest thing only a working broker sends.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from pamqp import commands, exceptions, frame

__all__ = ["Greeting", "greet"]

_HEADER = b"AMQP\x00\x00\x09\x01"
_PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True)
class Greeting:
    """What ``connection.start`` says about the server."""

    version: str
    cluster_name: str


def greet(url: str, *, timeout: float) -> Greeting:
    """
    Ask an AMQP URL who is there; no credentials are sent.

    Args:
        url: ``amqp://`` or ``amqps://``; only scheme, host and port are used.
        timeout: Seconds for each step: connecting, and every read.

    Raises:
        OSError: When nobody answers in time, or not in AMQP 0-9-1.
    """
    parts = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    address = (host, parts.port or _PORTS.get(parts.scheme, 5672))
    with socket.create_connection(address, timeout=timeout) as plain:
        if parts.scheme != "amqps":
            return _ask(plain)
        with ssl.create_default_context().wrap_socket(plain, server_hostname=host) as wrapped:
            return _ask(wrapped)


def _ask(connection: socket.socket) -> Greeting:
    connection.sendall(_HEADER)
    received = b""
    while True:
        chunk = connection.recv(4096)
        if not chunk:
            raise ConnectionError(f"the server hung up after {len(received)} bytes of greeting")
        received += chunk
        try:
            start = frame.unmarshal(received)[2]
        except exceptions.UnmarshalingException:
            continue  # not a whole frame yet
        if not isinstance(start, commands.Connection.Start):
            raise ConnectionError(f"the server greets with {type(start).__name__}, not with Start")
        properties = start.server_properties
        return Greeting(str(properties.get("version")), str(properties.get("cluster_name")))
