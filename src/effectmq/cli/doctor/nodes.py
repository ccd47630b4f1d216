"""The nodes of a cluster, each checked separately."""

from __future__ import annotations

import asyncio
import time

from effectmq.broker.transports import open_transport
from effectmq.broker.transports.addresses import split_addresses
from effectmq.broker.transports.settings import TransportSettings
from effectmq.cli.doctor.checks import Finding
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.urls import mask_url

__all__ = ["node_findings"]


async def node_findings(broker: str, settings: TransportSettings) -> list[Finding]:
    """
    Check whether each of several addresses can be used; nothing for a single one.

    An unusable one is a warning, because the other nodes take over.

    Args:
        broker: The addresses.
        settings: The settings of the connections.
    """
    addresses = split_addresses(broker)
    if len(addresses) == 1:
        return []
    return await asyncio.gather(*(_look_at(address, settings) for address in addresses))


async def _look_at(address: str, settings: TransportSettings) -> Finding:
    started = time.monotonic()
    try:
        async with open_transport(address, settings) as transport:
            server = transport.server
    except EffectmqError as problem:
        return Finding("node", "WARN", f"{mask_url(address)} cannot be used: {problem}")
    took_ms = (time.monotonic() - started) * 1_000
    return Finding("node", "OK", f"{mask_url(address)}, {server}, in {took_ms:.0f} ms")
