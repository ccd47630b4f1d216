"""
The composition root: ``Client`` and ``Worker`` as users meet them.

They are the rooms' own classes with one thing added: what is not given as an argument comes from
the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from effectmq.broker.client import EffectClient
from effectmq.broker.settings import TransportSettings
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.environment import Environment, variables
from effectmq.protocol.codec import MSGPACK

if TYPE_CHECKING:
    from effectmq.consumers.llm import AttachmentSource

__all__ = ["Client", "Worker"]


class Client(EffectClient):
    """
    Submits effects and receives their outcomes. Use as an asynchronous context manager.

    Args:
        broker: ``amqp://…`` or ``memory://…``; ``EFFECTMQ_BROKER``, else ``memory://``.
        identity: Names the reply queue, one live client each; ``EFFECTMQ_IDENTITY``, else random.
        namespace: Prefix of all queue names; ``EFFECTMQ_NAMESPACE``, else ``effects``.
        transport: Timeouts and limits of the connection.
        content_type: How envelopes are encoded: ``application/msgpack`` or ``application/json``.

    Raises:
        ConfigurationError: When an argument or a variable cannot be used.
    """

    def __init__(
        self,
        broker: str | None = None,
        *,
        identity: str | None = None,
        namespace: str | None = None,
        transport: TransportSettings | None = None,
        content_type: str = MSGPACK,
    ) -> None:
        environment = Environment.read()
        super().__init__(
            broker or environment.broker,
            identity=identity or environment.identity,
            topology=environment.topology_in(namespace),
            transport=transport,
            content_type=content_type,
        )


class Worker(EffectWorker):
    """
    Carries out effects. Register tools and handlers, then ``await run()`` or use the command line.

    Args:
        broker: ``amqp://…`` or ``memory://…``; ``EFFECTMQ_BROKER``, else ``memory://``.
        namespace: Prefix of all queue names; ``EFFECTMQ_NAMESPACE``, else ``effects``.
        settings: Concurrency, limits and times.
        transport: Timeouts and limits of the connection.
        name: Shown on dead letters; host and process id by default.

    Raises:
        ConfigurationError: When an argument or a variable cannot be used.
    """

    def __init__(
        self,
        broker: str | None = None,
        *,
        namespace: str | None = None,
        settings: WorkerSettings | None = None,
        transport: TransportSettings | None = None,
        name: str | None = None,
    ) -> None:
        environment = Environment.read()
        super().__init__(
            broker or environment.broker,
            settings=settings,
            topology=environment.topology_in(namespace),
            transport=transport,
            name=name,
        )

    def models(self, table: Mapping[str, Any], attachments: AttachmentSource | None = None) -> None:
        """
        Let language models answer ``llm_call`` and ``direct`` effects.

        Args:
            table: Rows of plain data by the names that requests use, see ``docs/models.md``; API
                keys are read from the variables that the rows name.
            attachments: Where the bytes of attachments are; without it a request may have none.

        Raises:
            MissingExtraError: When a model needs the extra ``llm`` and it is not installed.
            ConfigurationError: When a row cannot be used, its key is missing, or one of the kinds
                has a handler already.
        """
        from effectmq.consumers.llm import llm_handlers, read_models

        for handler in llm_handlers(read_models(table), attachments, variables=variables()):
            self.add(handler)
