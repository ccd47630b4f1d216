"""
Turns a message into a request, or decides what to do with one that cannot be read here.

Another worker may be able to read it: one of a newer version of the protocol, or one that has the
store of its body. Then it goes there, for a while; otherwise it is parked.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from effectmq.consumers.decisions.delivery import Park, park_unreadable
from effectmq.consumers.pipeline.reading.bodies import Postpone, is_out_of_line, read_stored
from effectmq.consumers.pipeline.reading.unread import STORE, needs_of, passed_on
from effectmq.consumers.pipeline.route import Route
from effectmq.protocol.encoding.limits import HARD_MAX_BODY_BYTES
from effectmq.protocol.errors import HandlerError, ProtocolError
from effectmq.protocol.messages.log_names import names_of_message
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import is_kept_outcome
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.text import printable

if TYPE_CHECKING:
    from effectmq.consumers.pipeline.job import Job

__all__ = ["KeptOutcome", "Oversize", "Unread", "fetch", "read"]

logger = logging.getLogger("effectmq.worker")


@dataclass(frozen=True, slots=True)
class Oversize:
    """A message too large to publish again: its sender is told, and the broker dead-letters it."""

    why: Park


@dataclass(frozen=True, slots=True)
class KeptOutcome:
    """An outcome that was kept until its reply queue exists; it is no effect, and nothing runs."""


#: What to do with a message that is not read here.
Unread = Oversize | KeptOutcome | Postpone | Park


def read(route: Route[Job], message: Message) -> Request | Unread | None:
    """
    Read a message.

    Returns:
        ``None`` when its body must be fetched first.
    """
    if len(message.body) > route.limits.max_body_bytes:
        return _too_large(route, message)
    if is_kept_outcome(message):
        return KeptOutcome()
    if route.bodies is not None and is_out_of_line(message):
        return None
    try:
        return read_request(message, route.limits)
    except ProtocolError as problem:
        needs = needs_of(message, problem, store=route.bodies is not None)
        return _elsewhere(route, message, park_unreadable(problem), needs, "")


def _too_large(route: Route[Job], message: Message) -> Park | Oversize:
    """Park it with the reason; what cannot be published again is left to the broker."""
    size, limit = len(message.body), route.limits.max_body_bytes
    route.counters["rejected_oversize"] += 1
    why = Park(
        "malformed",
        "effectmq_malformed",
        f"the body is {size} bytes and the limit of this worker is {limit}; give the worker the "
        "max_body_bytes of its clients, or keep large data outside the effect and pass a reference",
    )
    # A kept outcome is no effect: replayed as the broker has it, it is delivered.
    if size > HARD_MAX_BODY_BYTES or is_kept_outcome(message):
        return Oversize(why)
    return why


async def fetch(route: Route[Job], message: Message) -> Request | Unread:
    """
    Fetch a body that is kept out of line, and read it.

    Raises:
        HandlerError: When this worker has no store.
    """
    if route.bodies is None:
        raise HandlerError(
            "the body of the message is kept in an attachment store, and this worker has none; "
            "give it the store of the producer (attachments=)"
        )
    found = await read_stored(
        route.bodies, message, route.limits, now_ms=route.now_ms(), levels_ms=route.levels_ms
    )
    if isinstance(found, Postpone):
        route.counters["bodies_postponed"] += 1
        logger.warning(
            "the body of effect %s cannot be fetched, next try in %d ms: %s",
            printable(message.correlation_id, 200),
            found.level_ms,
            found.problem,
            extra={"action": "body_postponed", **names_of_message(message)},
        )
    elif isinstance(found, Park) and found.code == "effectmq_body_missing":
        # Two installations may have different stores, of which only one has the body.
        return _elsewhere(route, message, found, STORE, route.abilities.version(STORE))
    return found


def _elsewhere(
    route: Route[Job], message: Message, why: Park, needs: str, version: str
) -> Postpone | Park:
    """Send on what is not read here while another worker may read it; otherwise park it."""
    known = route.abilities.known(needs, version, route.key) if needs else "nobody"
    action = passed_on(
        message,
        why.message,
        known,
        now_ms=route.now_ms(),
        levels_ms=route.levels_ms,
        patience_ms=round(route.settings.elsewhere_s * 1_000),
    )
    if action is None:
        return why
    route.counters["elsewhere"] += 1
    logger.warning(
        "effect %s goes to another worker: %s",
        printable(message.correlation_id, 200),
        action.problem,
        extra={"action": "elsewhere", "needs": needs, **names_of_message(message)},
    )
    return action
