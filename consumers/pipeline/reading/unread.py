"""
Messages that this worker cannot read, but another worker may: of a newer version of the protocol,
or with a body in a store that this worker does not have.

Only the headers of such an effect are known; they are copied as for any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from effectmq.consumers.decisions.delivery import Known, elsewhere
from effectmq.consumers.pipeline.reading.bodies import Postpone, is_out_of_line
from effectmq.protocol.errors import ProtocolError, UnsupportedVersionError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import ENVELOPE_TYPE

__all__ = ["STORE", "VERSION", "needs_of", "passed_on", "running", "with_death"]

#: The ability of a worker that has an attachment store.
STORE = "store of bodies"
VERSION = f"protocol {ENVELOPE_TYPE}"


def running(kind: str) -> str:
    """The ability of a worker that executes effects of a kind, rather than replays them."""
    return f"running {kind}"


def needs_of(message: Message, problem: ProtocolError, *, store: bool) -> str:
    """
    The ability that another worker needs to read a message; empty when no worker can.

    Args:
        message: What arrived.
        problem: Why it cannot be read here.
        store: Whether this worker has an attachment store.
    """
    if isinstance(problem, UnsupportedVersionError):
        return f"protocol {message.type}"
    return STORE if is_out_of_line(message) and not store else ""


def passed_on(
    message: Message,
    problem: str,
    known: Known,
    *,
    now_ms: int,
    levels_ms: Sequence[int],
    patience_ms: int,
) -> Postpone | None:
    """
    The copy for another worker; ``None`` when that is useless, or the time for it is over.

    Args:
        message: What arrived.
        problem: Why it cannot be read here.
        known: Whether another worker is known that can read it.
        now_ms: Unix milliseconds.
        levels_ms: The delay levels, ascending.
        patience_ms: For how long it is given back, in milliseconds.
    """
    try:
        action = elsewhere(
            names.integer(message.headers, names.ELSEWHERE, 0),
            names.integer(message.headers, names.ELSEWHERE_SINCE, 0),
            known,
            deadline_ms=names.integer(message.headers, names.DEADLINE, 0),
            now_ms=now_ms,
            levels_ms=levels_ms,
            patience_ms=patience_ms,
        )
    except ProtocolError:
        return None
    if action is None:
        return None
    headers = {
        **names.carried(message.headers),
        names.ELSEWHERE: action.headers["elsewhere"],
        names.ELSEWHERE_SINCE: action.headers["elsewhere_since"],
    }
    copy = replace(message, message_id="", returns=0, headers=headers)
    return Postpone(action.level_ms, copy, problem)


def with_death(message: Message) -> Message:
    """The message with one more death; unchanged when its count cannot be read."""
    try:
        deaths = names.integer(message.headers, names.DEATHS, 0)
    except ProtocolError:
        return message
    return replace(message, headers={**message.headers, names.DEATHS: deaths + 1})
