"""
Attachments of a request to a model: bytes become references, and references become bytes again.

A failure before publishing is refused with the wire's codes, and nothing is submitted. A failure
when loading is an error of the model call, which is an outcome.
"""

from __future__ import annotations

from collections.abc import Sequence

from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.protocol.errors import AttachmentError
from effectmq.protocol.text import describe
from effectmq.protocol.wire.live_attachments import LiveAttachment, missing_store
from effectmq.protocol.wire.llm_request import LlmAttachmentSpec, attachment_specs
from effectmq.protocol.wire.llm_response import LlmCallError

__all__ = ["LiveAttachment", "attachment_specs", "load_attachments", "resolution_failure"]


async def load_attachments(
    store: AttachmentStore | None, attachments: Sequence[LlmAttachmentSpec]
) -> list[bytes]:
    """
    The bytes of a request's attachments, checked against their references.

    Raises:
        AttachmentError: When one cannot be loaded; see ``resolution_failure``.
    """
    return [await _required(store).get(attachment.reference.id) for attachment in attachments]


def resolution_failure(problem: AttachmentError) -> LlmCallError:
    """The result of an ``llm_call`` or ``direct`` whose attachment could not be loaded."""
    return LlmCallError(
        message=describe(problem),
        retryable=False,
        code="attachment_resolution_failed",
        terminal_reason="provider_error",
    )


def _required(store: AttachmentStore | None) -> AttachmentStore:
    if store is None:
        raise missing_store()
    return store
