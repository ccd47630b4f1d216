"""
The composition root: ``Client`` and ``Worker`` as users meet them.

They are the rooms' own classes with one thing added: what is not given as an argument comes from
the environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from effectmq.broker.client.client import EffectClient
from effectmq.broker.store.attachments import AttachmentStore
from effectmq.broker.store.journal.choice import ReplayMode
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.environment import Environment, variables
from effectmq.protocol.encoding.codec import MSGPACK

if TYPE_CHECKING:
    from effectmq.consumers.llm import AttachmentSource

__all__ = ["Client", "Worker"]


class Client(EffectClient):
    """
    Submits effects and receives their outcomes. Use as an asynchronous context manager.

    Args:
        broker: ``amqp://…`` or ``memory://…``; ``EFFECTMQ_BROKER``, else ``memory://``. Several
            of a cluster in a list, or separated by commas.
        identity: Names the reply queue, one live client each; ``EFFECTMQ_IDENTITY``, else random.
        namespace: Prefix of all queue names; ``EFFECTMQ_NAMESPACE``, else ``effects``.
        transport: Timeouts and limits of the connection.
        content_type: How envelopes are encoded: ``application/msgpack`` or ``application/json``.
        attachments: The attachment store or its address, ``file:///…`` or ``s3://…``;
            ``EFFECTMQ_ATTACHMENTS``, else none. ``none`` for none whatever the variable says.
        journal: ``sqlite:///path``, ``postgresql://…`` or ``none``; ``EFFECTMQ_JOURNAL``, else none
            in reach.
        replay: ``strict`` answers from the journal only, and needs no broker.

    Raises:
        ConfigurationError: When an argument or a variable cannot be used.
        MissingExtraError: When the attachment store needs a package that is not installed.
    """

    def __init__(
        self,
        broker: str | Sequence[str] | None = None,
        *,
        identity: str | None = None,
        namespace: str | None = None,
        transport: TransportSettings | None = None,
        content_type: str = MSGPACK,
        attachments: AttachmentStore | str | None = None,
        journal: str | None = None,
        replay: ReplayMode = "execute",
    ) -> None:
        environment = Environment.read()
        super().__init__(
            broker or environment.broker,
            identity=identity or environment.identity,
            topology=environment.topology_in(namespace),
            transport=transport,
            content_type=content_type,
            attachments=environment.attachments if attachments is None else attachments,
            journal=journal or environment.journal,
            replay=replay,
        )


class Worker(EffectWorker):
    """
    Carries out effects. Register tools and handlers, then ``await run()`` or use the command line.

    Args:
        broker: ``amqp://…`` or ``memory://…``; ``EFFECTMQ_BROKER``, else ``memory://``. Several
            of a cluster in a list, or separated by commas.
        namespace: Prefix of all queue names; ``EFFECTMQ_NAMESPACE``, else ``effects``.
        settings: Concurrency, limits and times.
        transport: Timeouts and limits of the connection.
        name: Shown on dead letters; host and process id by default.
        journal: ``sqlite:///path``, ``postgresql://…`` or ``none``; ``EFFECTMQ_JOURNAL``, else a
            file of this user and namespace, which is shown when the worker starts.
        replay: ``strict`` answers from the journal only, and never executes.
        attachments: The attachment store or its address, ``file:///…`` or ``s3://…``;
            ``EFFECTMQ_ATTACHMENTS``, else none.

    Raises:
        ConfigurationError: When an argument or a variable cannot be used.
    """

    def __init__(
        self,
        broker: str | Sequence[str] | None = None,
        *,
        namespace: str | None = None,
        settings: WorkerSettings | None = None,
        transport: TransportSettings | None = None,
        name: str | None = None,
        journal: str | None = None,
        replay: ReplayMode = "execute",
        attachments: AttachmentStore | str | None = None,
    ) -> None:
        environment = Environment.read()
        topology = environment.topology_in(namespace)
        super().__init__(
            broker or environment.broker,
            settings=settings,
            topology=topology,
            transport=transport,
            name=name,
            journal=journal or environment.journal_in(topology.namespace),
            replay=replay,
            attachments=environment.attachments if attachments is None else attachments,
        )

    def models(self, table: Mapping[str, Any], attachments: AttachmentSource | None = None) -> None:
        """
        Let language models answer ``llm_call`` and ``direct`` effects.

        Args:
            table: Rows of plain data by the names that requests use, see ``docs/models.md``; API
                keys are read from the variables that the rows name.
            attachments: Where the bytes of attachments are; the worker's own store by default.

        Raises:
            MissingExtraError: When a model needs the extra ``llm`` and it is not installed.
            ConfigurationError: When a row cannot be used, its key is missing, or one of the kinds
                has a handler already.
        """
        from effectmq.consumers.llm import llm_handlers, read_models

        store = self.attachments if attachments is None else attachments
        llm_call, direct = llm_handlers(read_models(table), store, variables=variables())
        self.add(llm_call)
        self.add(direct)
        self.use(llm_call.calls)
