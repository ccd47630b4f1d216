"""
Outcomes whose reply queue does not exist, while nothing else remembers them.

A missing queue does not mean that nobody waits: a producer that was away, or that lost its queue,
may declare it again in a moment. An outcome that is neither in a journal nor in a dead letter would
be lost with its delivery. So it becomes a message: it goes through the delay levels, back to a
worker, and to the reply queue. After a stated time it goes to the dead letters, where it can be
read, and a replay delivers it. Meanwhile it holds no worker, and it is as durable as an effect.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from effectmq.consumers.decisions.retry import delay_level
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import Answer
from effectmq.protocol.messages.request import correlation

__all__ = [
    "UNDELIVERED_CODE",
    "Later",
    "Surrender",
    "after_undelivered",
    "undelivered_message",
]

#: The code on the dead letter of an outcome that found no reply queue.
UNDELIVERED_CODE = "effectmq_undelivered"

_FIRST_WAIT_MS = 1_000
#: The longest wait between two tries. A producer that comes back asks again a little later than
#: this, so that its effect is not carried out twice while its outcome is on the way.
_LONGEST_WAIT_MS = 5_000


@dataclass(frozen=True, slots=True)
class Later:
    """Try again after a delay level."""

    level_ms: int
    message: Message


@dataclass(frozen=True, slots=True)
class Surrender:
    """Give up, because the time is over: the outcome goes to the dead letters."""

    detail: str


def undelivered_message(message: Message, answer: Answer, reply_to: str) -> Message:
    """
    The outcome as a message that names its effect and its reply queue.

    Args:
        message: What was sent to the reply queue.
        answer: The one answer in it.
        reply_to: The reply queue.
    """
    return replace(
        message,
        message_id="",
        correlation_id=correlation(answer.effect_id),
        reply_to=reply_to,
        headers={
            **names.carried(message.headers),
            names.HASH: answer.hash[:128],
            names.REPLAY_KEY: answer.replay_key[:255],
            names.ATTEMPT: answer.attempt,
        },
    )


def after_undelivered(
    message: Message,
    *,
    now_ms: int,
    keep_ms: int,
    levels_ms: Sequence[int],
    jitter: random.Random,
) -> Later | Surrender:
    """
    What to do with an outcome that has just found no reply queue.

    Args:
        message: From ``undelivered_message``, or as it came back from a delay level.
        now_ms: Unix milliseconds.
        keep_ms: How long to try, in milliseconds.
        levels_ms: The delay levels, ascending.
        jitter: Spreads outcomes that failed together.
    """
    found = message.headers.get(names.FIRST_SEEN)
    since_ms = found if isinstance(found, int) and 0 < found <= now_ms else now_ms
    elapsed_ms = now_ms - since_ms
    if elapsed_ms >= keep_ms:
        return Surrender(
            f"its reply queue {message.reply_to!r} did not exist or took nothing for "
            f"{elapsed_ms / 1_000:.0f} s: its producer is gone and the queue has expired, or "
            "somebody deleted it, or it is full. The outcome is inside; start the producer under "
            "its identity, then replay this letter, which delivers the outcome and runs nothing"
        )
    wait_ms = min(max(_FIRST_WAIT_MS, elapsed_ms), _LONGEST_WAIT_MS)
    headers = {**names.carried(message.headers), names.FIRST_SEEN: since_ms}
    return Later(
        delay_level(levels_ms, wait_ms, jitter=jitter),
        replace(message, message_id="", headers=headers),
    )
