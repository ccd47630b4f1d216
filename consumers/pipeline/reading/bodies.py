"""
Requests whose bodies are kept out of line: fetch, check, read, and what to do when that fails.

Before the body of such an effect is here, only its headers are known, and decisions rest on them. A
store that is down is waited for on a delay level, where the effect holds no slot. An effect whose
body is missing or damaged is parked; a replay works once somebody has put the body back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.consumers.decisions.delivery import Park, park_unreadable
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.errors import (
    AttachmentCorruptError,
    AttachmentError,
    AttachmentMissingError,
    ProtocolError,
)
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import accepts_out_of_line, body_reference
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.text import describe

__all__ = ["PATIENCE_MS", "Postpone", "answer_limits", "is_out_of_line", "read_stored"]

#: How long an effect waits for a store that cannot be used before it is parked.
PATIENCE_MS = 3_600_000
#: The wait before the next try; within a try the store is asked several times.
_AGAIN_MS = 15_000


@dataclass(frozen=True, slots=True)
class Postpone:
    """Publish this message to a delay level, then settle: the store cannot be used now."""

    level_ms: int
    message: Message
    problem: str


def is_out_of_line(message: Message) -> bool:
    """Whether there is a body to fetch before the message can be read."""
    return names.BODY in message.headers


async def read_stored(
    bodies: LargeBodies, message: Message, limits: Limits, *, now_ms: int, levels_ms: Sequence[int]
) -> Request | Postpone | Park:
    """
    Fetch the body of a request, and read it.

    Args:
        bodies: Fetches bodies.
        message: What arrived; see ``is_out_of_line``.
        limits: What this worker accepts; the limit of size is that of the store's settings instead.
        now_ms: Unix milliseconds.
        levels_ms: The delay levels, ascending.

    Returns:
        The request, whose message is still the small one, for publishing it again; or what to do.
    """
    try:
        reference = body_reference(message)
        whole = await bodies.incoming(message)
        # The store has hashed what it read.
        checked = reference.sha256 if reference is not None else ""
        request = read_request(whole, bodies.limits(limits), body_sha256=checked)
    except ProtocolError as problem:
        return park_unreadable(problem)
    except AttachmentMissingError as problem:
        return Park("malformed", "effectmq_body_missing", describe(problem))
    except AttachmentCorruptError as problem:
        return Park("tampered", "effectmq_body_corrupt", describe(problem))
    except AttachmentError as problem:
        return _later(message, describe(problem), now_ms, levels_ms)
    headers = {**message.headers}
    headers.pop(names.UNFETCHED_SINCE, None)
    return replace(request, message=replace(message, headers=headers))


def _later(
    message: Message, problem: str, now_ms: int, levels_ms: Sequence[int]
) -> Postpone | Park:
    try:
        since_ms = names.integer(message.headers, names.UNFETCHED_SINCE, 0) or now_ms
        deadline_ms = names.integer(message.headers, names.DEADLINE, 0)
    except ProtocolError as malformed:
        return park_unreadable(malformed)
    end_ms = since_ms + PATIENCE_MS
    if deadline_ms:
        end_ms = min(end_ms, deadline_ms)
    if now_ms >= end_ms:
        return Park("exhausted", "effectmq_body_unavailable", problem)
    fitting = [level for level in levels_ms if level <= _AGAIN_MS]
    headers = {**names.carried(message.headers), names.UNFETCHED_SINCE: since_ms}
    return Postpone(
        fitting[-1] if fitting else levels_ms[0],
        replace(message, message_id="", headers=headers),
        problem,
    )


def answer_limits(bodies: LargeBodies | None, message: Message, limits: Limits) -> Limits:
    """
    The limits of an answer.

    Args:
        bodies: Keeps bodies out of line, if this worker has a store.
        message: The request.
        limits: What an answer in a message may be.
    """
    if bodies is None or not _can_fetch(message):
        return limits
    return bodies.limits(limits)


def _can_fetch(message: Message) -> bool:
    try:
        return accepts_out_of_line(message)
    except ProtocolError:
        # The request was parked for it; its sender is told in a small message.
        return False
