"""
Tell all workers that an effect was cancelled.

Best effort: the journal has decided, and a worker learns it at its next renewal of a lease.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import BrokerError, PublishError, UnroutableError
from effectmq.protocol.messages.notices.cancel import cancel_notice
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.text import printable
from effectmq.protocol.topology import Exchange, Names, Topology

__all__ = ["announce_cancel"]

logger = logging.getLogger("effectmq.client")

_TIMEOUT_S = 5.0


async def announce_cancel(
    transport: Transport, names: Names, identity: Identity, named: Mapping[str, str]
) -> None:
    """
    Publish the notice; a failure is logged, because nothing depends on it.

    Args:
        transport: An open transport.
        names: The namespace.
        identity: The effect.
        named: How the log names it.
    """
    try:
        # A publish to a missing exchange would close the channel for all publishes, so it is
        # looked for first. Many cancels at once share a look, and none has to declare.
        if not await transport.has_exchange(names.control):
            await transport.declare(Topology((Exchange(names.control, "fanout"),)))
        await transport.publish(names.control, "", cancel_notice(identity), timeout=_TIMEOUT_S)
    except UnroutableError:
        # No worker with a journal is there to hear it.
        return
    except (PublishError, BrokerError) as problem:
        logger.warning(
            "workers could not be told that %s was cancelled, and find out later: %s",
            printable(identity.replay_key, 200),
            problem,
            extra={"action": "notice_failed", **named},
        )
