"""
Several addresses of one broker, as people write them for the nodes of a cluster.

::

    amqp://user:password@a,b:5673,c/vhost               hosts that share everything else
    amqp://user:password@a/vhost,amqps://u:p@b/vhost    whole addresses, each with its own
    ["amqp://…", "amqp://…"]                            the same as an argument

Inside the program they are one text with commas, like ``EFFECTMQ_BROKER``; only the adapter splits
it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.urls import mask_url

__all__ = ["joined_addresses", "split_addresses"]

#: A comma before a scheme begins another address; any other comma is part of one.
_BETWEEN = re.compile(r"\s*,\s*(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOSTS = re.compile(r"[^/?#]*")


def joined_addresses(broker: str | Sequence[str]) -> str:
    """
    One text for an address or a list of them.

    Raises:
        ConfigurationError: When a list is empty, or has an item that is not text.
    """
    if isinstance(broker, str):
        return broker
    parts: list[object] = list(broker)
    if not parts or not all(isinstance(part, str) and part.strip() for part in parts):
        raise ConfigurationError(
            f"the broker's addresses are {len(parts)} values; expected one text or a list of texts "
            "such as 'amqp://user:password@host:port/vhost', none of them empty"
        )
    return ",".join(str(part).strip() for part in parts)


def split_addresses(broker: str) -> tuple[str, ...]:
    """
    Each address as a separate URL, once, in the given order.

    Raises:
        ConfigurationError: When ``memory://`` is one of several addresses, or a host or an address
            is missing beside a comma.
    """
    whole = broker.strip()
    if whole.startswith(",") or whole.endswith(","):
        raise ConfigurationError(
            f"the broker's addresses are {mask_url(whole)!r}, with a comma and no address beside "
            "it; expected commas between addresses only. In the name of a virtual host it is "
            "written as %2C"
        )
    urls = [url for part in _BETWEEN.split(whole) for url in _each_host(part)]
    schemes = {url.partition("://")[0].lower() for url in urls}
    if len(urls) > 1 and "memory" in schemes:
        raise ConfigurationError(
            f"the broker's addresses are {mask_url(broker)!r}; expected memory:// alone, because "
            "it is inside this process, or several amqp:// addresses of one cluster"
        )
    return tuple(dict.fromkeys(urls))


def _each_host(url: str) -> list[str]:
    scheme = _SCHEME.match(url)
    if scheme is None:
        return [url]
    login, at, rest = url[scheme.end() :].rpartition("@")
    found = _HOSTS.match(rest)
    hosts = found[0] if found else ""
    if "," not in hosts:
        return [url]
    names = [host.strip() for host in hosts.split(",")]
    if not all(names):
        raise ConfigurationError(
            f"the broker's address is {mask_url(url)!r}, with a comma and no host beside it; "
            "expected amqp://user:password@host1:port,host2:port/vhost"
        )
    return [f"{scheme[0]}{login}{at}{host}{rest[len(hosts) :]}" for host in names]
