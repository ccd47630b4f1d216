"""
The tenant of an effect: for whom it is done, when one installation works for several customers.

It is a header beside the envelope and no part of the effect: neither the hash nor the replay key
knows it. Its text comes from strangers and ends up in tables, lists and errors, so it is short and
printable.
"""

from __future__ import annotations

from collections.abc import Mapping

from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import HeaderValue
from effectmq.protocol.text import printable

__all__ = ["checked_tenant", "known_tenant", "read_tenant"]


def checked_tenant(tenant: object) -> str:
    """
    A tenant that a program or a person gives; empty for none.

    Raises:
        ConfigurationError: When it is no text, too long, or not printable.
    """
    fault = _fault(tenant)
    if fault:
        raise ConfigurationError(f"the tenant has {fault}; choose a short name or an id")
    return str(tenant)


def read_tenant(headers: Mapping[str, HeaderValue]) -> str:
    """
    The tenant of a message from a stranger; empty when it has none.

    Raises:
        MalformedError: When the header is no text, too long, or not printable.
    """
    tenant = headers.get(names.TENANT, "")
    fault = _fault(tenant)
    if fault:
        raise MalformedError(names.TENANT, f"found {fault}")
    return str(tenant)


def known_tenant(headers: Mapping[str, HeaderValue]) -> str:
    """The tenant of a message that is shown or mended, where nothing is refused."""
    tenant = headers.get(names.TENANT, "")
    return "" if _fault(tenant) else str(tenant)


def _fault(tenant: object) -> str:
    """What is wrong with it, as a phrase; empty when nothing is."""
    if not isinstance(tenant, str):
        return f"{printable(repr(tenant), 60)}, expected text"
    if len(tenant) > names.MAX_TENANT_BYTES or len(tenant.encode(errors="replace")) > (
        names.MAX_TENANT_BYTES
    ):
        return f"more than {names.MAX_TENANT_BYTES} bytes"
    if not tenant.isprintable() or tenant != tenant.strip():
        return (
            "characters that cannot be printed, or blanks at an end: "
            f"{printable(repr(tenant), 200)}"
        )
    return ""
