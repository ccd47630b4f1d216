"""What commands about workers open: the broker, and whoever asks the workers."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from effectmq.broker.client.fleet.fleet import Fleet
from effectmq.broker.dead_letters.desk import operator
from effectmq.broker.transports.port import Transport
from effectmq.cli.arguments.options import no_worker
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.terminal.output import complain
from effectmq.protocol.topology import Names

__all__ = ["opened_fleet", "say_nobody"]


@asynccontextmanager
async def opened_fleet(
    args: argparse.Namespace, transport: Transport
) -> AsyncGenerator[Fleet | None]:
    """
    Who asks the workers; ``None`` when no worker ever used the namespace.

    Raises:
        BrokerError: When the broker cannot be used.
    """
    names = Names(place_of(args).topology.namespace)
    if not await transport.has_exchange(names.control):
        yield None
        return
    async with Fleet(transport, names, by=getattr(args, "by", "") or operator()) as fleet:
        yield fleet


def say_nobody(args: argparse.Namespace) -> int:
    """Say that no worker ever was here; returns the exit code."""
    complain(no_worker(place_of(args)))
    return 1
