"""``Client`` as users meet it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from effectmq.broker.client.client import EffectClient
from effectmq.broker.place import Place, Said
from effectmq.settings.resolution import resolved_for_client
from effectmq.wiring.tracing import tracing_of

if TYPE_CHECKING:
    from effectmq.broker.tracing import Tracing

__all__ = ["Client"]


class Client(EffectClient):
    """
    The client: submits effects and receives their outcomes. Use it as an asynchronous context
    manager.

    Arguments that are not given come from the environment, for instance ``EFFECTMQ_BROKER``;
    docs/settings.md has every argument and its variable.

    Args:
        broker: ``amqp://…``, or ``memory://…`` by default. Several of a cluster in a list, or
            separated by commas.
        place: Broker, namespace, journal, store and connection of a worker, together.
        topology: Namespace, delay levels and limits together.
        transport: Timeouts and limits of the connection together.
        arguments: ``namespace``, ``identity``, ``journal`` (none by default), ``attachments``,
            ``replay``, ``content_type``, ``heartbeat_s`` and more.

    Raises:
        ConfigurationError: When an argument or a variable cannot be used.
        MissingExtraError: When the attachment store needs a package that is not installed.
    """

    @staticmethod
    def _resolve(arguments: Said) -> Said:
        return resolved_for_client(arguments)

    @staticmethod
    def _tracing_of(place: Place) -> Tracing | None:
        return tracing_of(place)
