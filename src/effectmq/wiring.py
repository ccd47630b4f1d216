"""
The composition root: ``Client`` and ``Worker`` as users meet them.

They are the rooms' own classes with one thing added: what is not given as an argument comes from
the command line and the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from effectmq.broker.client.client import EffectClient
from effectmq.broker.place import Said
from effectmq.consumers.worker import EffectWorker
from effectmq.settings.environment import variables
from effectmq.settings.resolution import resolved_for_client, resolved_for_worker

if TYPE_CHECKING:
    from effectmq.consumers.llm import AttachmentSource

__all__ = ["Client", "Worker"]


class Client(EffectClient):
    """
    Submits effects and receives their outcomes. Use as an asynchronous context manager.

    What is not given comes from the environment, for instance ``EFFECTMQ_BROKER``; docs/settings.md
    has every argument and its variable.

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


class Worker(EffectWorker):
    """
    Carries out effects. Register tools and handlers, then ``await run()`` or use the command line.

    What is not given comes from the environment, for instance ``EFFECTMQ_CONCURRENCY``; options of
    ``effectmq worker`` count more than both. docs/settings.md has every argument with its option
    and its variable.

    Args:
        broker: ``amqp://…``, or ``memory://…`` by default. Several of a cluster in a list, or
            separated by commas.
        place: Broker, namespace, journal, store and connection together.
        settings: Concurrency, limits and times together; whoever gives it says all of them.
        topology: Namespace, delay levels and limits together.
        transport: Timeouts and limits of the connection together.
        arguments: ``concurrency``, ``time_limit_s``, ``max_deaths``, ``name``, ``namespace``,
            ``journal`` (``none`` for none; by default it is in memory when the broker is, else a
            file of this user and namespace, shown at the start), ``attachments``, ``replay`` and
            more.

    Raises:
        ConfigurationError: When an argument or a variable cannot be used.
        MissingExtraError: When the attachment store needs a package that is not installed.
    """

    @staticmethod
    def _resolve(arguments: Said) -> Said:
        return resolved_for_worker(arguments)

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
