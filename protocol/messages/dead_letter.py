"""
A dead letter: the message as it arrived, and why it was parked.

The body is never changed, so that a replay is the same effect with the same hash. Of a stranger's
headers only known ones of limited length are kept, because a message that cannot be published again
could not even be parked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from effectmq.protocol.encoding.canonical import canonical_json, sha256_hex
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import HeaderValue, Message
from effectmq.protocol.messages.reply import is_kept_outcome
from effectmq.protocol.text import printable

__all__ = ["DeadLetter", "dead_message", "read_dead_letter", "revived_message"]

_ID_CHARACTERS = 12

#: Reasons that an effect only gets after an attempt.
_AFTER_AN_ATTEMPT = ("exhausted", "rejected", "uncertain", "undelivered")

# Together with the headers of the effect, these stay under the limit of all headers.
_MAX_DETAIL_BYTES = 2_048
_MAX_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """
    The known facts about a parked effect, read without decoding its body.

    Attributes:
        message: The message, body untouched.
        effect_id: From its correlation id; a digest when the id was too long.
        replay_key: From its header; empty when there is none.
        hash: The hash that its producer sent; empty when there is none.
        kind: The effect kind, empty for raw messages.
        route: The route to which a replay is published: the kind, or ``kind.lane``.
        reason: Why it was parked; ``raw`` when the broker moved it here.
        code: The controller error's code.
        detail: The controller error's message.
        attempts: How many attempts were made; 0 when none was, or when it is unknown.
        parked_ms: When it was parked, Unix milliseconds; 0 when unknown.
        parked_by: The worker that parked it.
        edited_from: The hash of the envelope before it was edited; empty when it was not.
        deaths: How many workers died while they held it.
        former_deaths: How many died before an earlier replay.
    """

    message: Message
    effect_id: str
    replay_key: str
    hash: str
    kind: str
    route: str
    reason: str
    code: str
    detail: str
    attempts: int
    parked_ms: int
    parked_by: str
    edited_from: str
    deaths: int = 0
    former_deaths: int = 0

    @property
    def is_outcome(self) -> bool:
        """Whether it holds an outcome that found no reply queue, in place of an effect."""
        return is_kept_outcome(self.message)

    @property
    def id(self) -> str:
        """
        The id of this letter for people and scripts: 12 hex digits, the same at every reading.

        An effect id does not identify a letter, because an effect can be parked more than once.
        Copies of one parking share their id. There are two copies after a lost confirmation, or
        when a worker finds the parking in the journal and cannot know that its letter is on the
        way.
        """
        number = _number(self.message.headers, names.PARK_NUMBER)
        moment = f"parking {number}" if number else self.parked_ms
        parts = [self.effect_id, self.replay_key, self.hash, moment]
        return sha256_hex(canonical_json(parts) + self.message.body)[:_ID_CHARACTERS]


def dead_message(
    message: Message,
    *,
    kind: str,
    route: str,
    reason: str,
    code: str,
    detail: str,
    parked_ms: int,
    parked_by: str,
    number: int = 0,
) -> Message:
    """
    The message to publish to the dead letters.

    Args:
        message: The message to park.
        kind: The effect kind of the queue it came from.
        route: The routing key it came with.
        reason: One of the park reasons.
        code: The controller error's code.
        detail: The controller error's message.
        parked_ms: Unix milliseconds.
        parked_by: The worker's name.
        number: The number of this parking of its effect; 0 where no journal counts them.
    """
    return replace(
        message,
        message_id="",
        returns=0,
        headers={
            **names.carried(message.headers),
            **({names.PARK_NUMBER: number} if number else {}),
            names.KIND: kind,
            names.ROUTE: route,
            names.PARK_REASON: reason,
            names.PARK_CODE: _fitting(code, _MAX_NAME_BYTES),
            names.PARK_MESSAGE: _fitting(detail, _MAX_DETAIL_BYTES),
            names.PARKED_AT: parked_ms,
            names.PARKED_BY: _fitting(parked_by, _MAX_NAME_BYTES),
        },
    )


def read_dead_letter(message: Message, routing_key: str) -> DeadLetter:
    """Read a message of the dead queue; missing facts are empty, and nothing is refused."""
    headers = message.headers
    route = _text(headers, names.ROUTE) or routing_key
    reason = _text(headers, names.PARK_REASON) or "raw"
    return DeadLetter(
        message=message,
        effect_id=message.correlation_id,
        replay_key=_text(headers, names.REPLAY_KEY),
        hash=_text(headers, names.HASH),
        kind=_text(headers, names.KIND) or route.split(".")[0],
        route=route,
        reason=reason,
        code=_text(headers, names.PARK_CODE),
        detail=_text(headers, names.PARK_MESSAGE)
        or "the broker moved it here by itself, because every consumer that took it was lost",
        # The header is set from the second attempt on.
        attempts=_number(headers, names.ATTEMPT) or int(reason in _AFTER_AN_ATTEMPT),
        parked_ms=_number(headers, names.PARKED_AT),
        parked_by=_text(headers, names.PARKED_BY),
        edited_from=_text(headers, names.EDITED_FROM),
        deaths=_number(headers, names.DEATHS),
        former_deaths=_number(headers, names.FORMER_DEATHS),
    )


def revived_message(letter: DeadLetter) -> Message:
    """
    The message to publish for a replay: the same effect, without its attempts and delays.

    Its deadline is removed as well: somebody who replays it wants it done now.
    """
    headers = names.revived(letter.message.headers)
    return replace(letter.message, message_id="", returns=0, headers=headers)


def _fitting(text: str, max_bytes: int) -> str:
    """Printable text, cut to a number of bytes."""
    return printable(text).encode()[:max_bytes].decode(errors="ignore")


def _text(headers: Mapping[str, HeaderValue], name: str) -> str:
    value = headers.get(name, "")
    return value if isinstance(value, str) else ""


def _number(headers: Mapping[str, HeaderValue], name: str) -> int:
    value = headers.get(name, 0)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
