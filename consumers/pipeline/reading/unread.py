"""
Messages that this worker cannot even read, and another one may: of a newer version of the protocol,
or with a body in a store that this worker does not have.

Nothing is known of such an effect but its headers, which are copied as for any other.
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

#: What workers tell each other that they have.
STORE = "store of bodies"
VERSION = f"protocol {ENVELOPE_TYPE}"


def running(kind: str) -> str:
    """What workers tell each other that carry out effects of a kind, rather than replay them."""
    return f"running {kind}"


def needs_of(message: Message, problem: ProtocolError, *, store: bool) -> str:
    """
    What another worker needs to have in order to read a message; empty when nobody can.

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
    The copy for another worker; ``None`` when it is not worth it, or no longer.

    Args:
        message: What arrived.
        problem: Why it cannot be read here.
        known: Whether another worker is known to be able to.
        now_ms: Unix milliseconds.
        levels_ms: The delay levels, ascending.
        patience_ms: For how long it is given back.
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
    """The message with one death more; one whose count cannot be read is left to its reader."""
    try:
        deaths = names.integer(message.headers, names.DEATHS, 0)
    except ProtocolError:
        return message
    return replace(message, headers={**message.headers, names.DEATHS: deaths + 1})
