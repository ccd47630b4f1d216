"""
A broker's address, read once, without its password.

Errors of an address are reported here, before the client library sees it: the library would connect
without checking a certificate, or show a part of the password in an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable
from effectmq.protocol.url_options import one_of, read_options, whole_number
from effectmq.protocol.urls import mask_url

__all__ = ["Address", "heartbeat_s", "read_address", "read_addresses"]

_PORT = 5672
_TLS_PORT = 5671
#: AMQP writes its length in one byte.
_LONGEST_VHOST = 255
_FILES = ("cafile", "certfile", "keyfile")


@dataclass(frozen=True, slots=True)
class Address:
    """
    The address of a broker, without secrets.

    Attributes:
        host: Name or number of the machine.
        port: Its port.
        vhost: The virtual host.
        tls: Whether the connection is encrypted.
    """

    host: str
    port: int
    vhost: str
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def read_address(url: str) -> Address:
    """
    Split an ``amqp://`` or ``amqps://`` URL, and check its options.

    Raises:
        ConfigurationError: When no program could connect with it, or should.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        # The parser's text may show a part of the password.
        raise _unreadable(url) from None
    if not host or port == 0 or "#" in url:
        # The client library takes port 0 for the default, and ignores what follows a #.
        raise _unreadable(url)
    tls = parts.scheme == "amqps"
    _check_options(parts.query)
    vhost = unquote(parts.path[1:]) or "/"
    if len(vhost.encode()) > _LONGEST_VHOST:
        raise ConfigurationError(
            f"the virtual host in the broker's address is {len(vhost.encode())} bytes long; AMQP "
            f"knows names of {_LONGEST_VHOST} bytes at most"
        )
    return Address(host=host, port=port or (_TLS_PORT if tls else _PORT), vhost=vhost, tls=tls)


def read_addresses(urls: Sequence[str]) -> list[Address]:
    """
    Split the addresses of all nodes of one cluster.

    Raises:
        ConfigurationError: When one of them cannot be used, or when they name different virtual
            hosts: after a change of the node everything would be missing.
    """
    addresses = [read_address(url) for url in urls]
    vhosts = sorted({address.vhost for address in addresses})
    if len(vhosts) > 1:
        raise ConfigurationError(
            f"the broker's addresses name the virtual hosts {printable(', '.join(vhosts), 200)}; "
            "expected the same in all of them, because they are nodes of one cluster that stand in "
            "for each other"
        )
    return addresses


def _unreadable(url: str) -> ConfigurationError:
    return ConfigurationError(
        f"the broker's address is {mask_url(url)!r}; expected "
        "amqp://user:password@host:port/vhost. Characters like / @ : # ? in a password are "
        "written as %2F %40 %3A %23 %3F"
    )


def heartbeat_s(url: str, default_s: int) -> int:
    """The seconds between heartbeats: what the address says, else what the settings say."""
    said = dict(parse_qsl(urlsplit(url).query)).get("heartbeat")
    return int(said) if said else default_s


def _check_options(query: str) -> None:
    # Blank values count: to the client library a mere ?no_verify_ssl turns the check off.
    if "no_verify_ssl" in dict(parse_qsl(query, keep_blank_values=True)):
        raise ConfigurationError(
            "the broker's address says no_verify_ssl, which would accept any certificate; remove "
            "it and name the authority with cafile=PATH"
        )
    options = read_options(query, _OPTIONS, "the broker's address")
    for name in _FILES:
        if name in options:
            _check_readable(name, options[name])


def _anything(value: str) -> str:
    return "" if value else "a value"


#: What a client can be told in an address, with what is expected of each.
_OPTIONS: Final = {
    "heartbeat": whole_number(1, 65_535, " seconds"),
    "timeout": whole_number(1, 86_400, " seconds"),
    "auth": one_of("plain", "external"),
    "cafile": _anything,
    "capath": _anything,
    "cadata": _anything,
    "certfile": _anything,
    "keyfile": _anything,
}


def _check_readable(name: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as failure:
        raise ConfigurationError(
            f"{name}={path} in the broker's address cannot be read: {failure.strerror}"
        ) from None
