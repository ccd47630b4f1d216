"""
Keep large bodies out of the broker: store them when publishing, fetch and check them when reading.

``body_reference`` describes the messages. Nothing is ever deleted here: a redelivery, a delay, a
dead letter or an equal effect may need a body again. A publisher that publishes it again stores it
again, which makes it young for rules that delete by age.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from effectmq.broker.backoff import Backoff
from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.errors import AttachmentStoreError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import body_reference, with_body, with_reference
from effectmq.protocol.messages.message import Message

__all__ = ["LargeBodies", "incoming_until_fetched", "outgoing_until_stored"]

logger = logging.getLogger("effectmq.claimcheck")

_LONGEST_WAIT_S = 15.0


class LargeBodies:
    """
    Puts large bodies into the store, and fetches them back.

    Args:
        store: Keeps the bodies.
        max_inline_bytes: The limit of the transport; larger bodies are stored even when they are
            below the threshold of the store.
    """

    def __init__(self, store: AttachmentStore, *, max_inline_bytes: int | None = None) -> None:
        self.store = store
        threshold = store.settings.body_threshold_bytes
        #: Larger bodies are kept out of line.
        self.threshold_bytes = min(threshold, max_inline_bytes or threshold)
        self._fetching = asyncio.Semaphore(store.settings.fetches)

    def limits(self, limits: Limits) -> Limits:
        """The limits with the size that bodies out of line may have."""
        return replace(limits, max_body_bytes=self.store.settings.max_body_bytes)

    async def outgoing(self, message: Message, sha256: str = "") -> Message:
        """
        The message to publish: the message itself, or one that names its body, which is stored by
        then.

        Args:
            message: Anything to be published.
            sha256: That of its body, lowercase hex, where it is known.

        Raises:
            PayloadTooLargeError: When the body is too large even for the store.
            AttachmentStoreError: When it could not be stored; then nothing should be published.
        """
        if len(message.body) <= self.threshold_bytes or names.BODY in message.headers:
            return message
        return with_reference(message, await self.store.put_body(message.body, sha256))

    async def incoming(self, message: Message) -> Message:
        """
        The message to read: the message itself, or a copy whose body was fetched and checked.

        Keep the original for publishing it again, because it is the small one.

        Raises:
            MalformedError: When the reference is invalid, or its size is over the limit.
            AttachmentMissingError: When the body is not in the store.
            AttachmentCorruptError: When the stored bytes are others.
            AttachmentStoreError: When the store cannot be read at the moment.
        """
        reference = body_reference(message)
        if reference is None:
            return message
        async with self._fetching:
            return with_body(message, await self.store.get_body(reference))


async def outgoing_until_stored(bodies: LargeBodies, message: Message) -> Message:
    """
    ``outgoing``, again and again while the store cannot be used. Cancel it to stop trying.

    For callers that keep their delivery unsettled meanwhile, so that nothing is lost.

    Raises:
        PayloadTooLargeError: When the body is too large even for the store.
    """
    return await _until_usable(bodies.outgoing, message)


async def incoming_until_fetched(bodies: LargeBodies, message: Message) -> Message:
    """
    ``incoming``, again and again while the store cannot be used. Cancel it to stop trying.

    Raises:
        MalformedError: When the reference is invalid, or its size is over the limit.
        AttachmentMissingError: When the body is not in the store.
        AttachmentCorruptError: When the stored bytes are others.
    """
    return await _until_usable(bodies.incoming, message)


async def _until_usable(move: Callable[[Message], Awaitable[Message]], message: Message) -> Message:
    backoff = Backoff(_LONGEST_WAIT_S)
    while True:
        try:
            return await move(message)
        except AttachmentStoreError as problem:
            wait_s = backoff.next_s()
            logger.warning(
                "the attachment store is tried again in %.1f s: %s",
                wait_s,
                problem,
                extra={"action": "store_again", "correlation_id": message.correlation_id},
            )
            await asyncio.sleep(wait_s)
