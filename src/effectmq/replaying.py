"""
Replay one letter and wait for its outcome.

A message has one reply queue, so the outcome comes to who waits here. It is then passed on, byte
for byte, to the producer that asked first, if its queue still exists.
"""

from __future__ import annotations

from dataclasses import replace

from effectmq.broker.client.client import EffectClient
from effectmq.broker.dead_letters.dead_letters import DeadFilter
from effectmq.broker.dead_letters.desk import DeadDesk
from effectmq.broker.dead_letters.edit import edit_letter
from effectmq.broker.place import Place
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import EffectmqError, UnroutableError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.dead_letter import DeadLetter
from effectmq.protocol.messages.message import Message, content_type_of
from effectmq.protocol.messages.reply import OUTCOME_TYPE, Reply, encode_reply, join_replies
from effectmq.protocol.topology import Names
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope

__all__ = ["NotReplayedError", "replay_and_wait"]


class NotReplayedError(EffectmqError):
    """The letter was not replayed, and is still in the queue."""


async def replay_and_wait(
    place: Place,
    transport: Transport,
    desk: DeadDesk,
    letter_id: str,
    *,
    document: bytes | None,
    timeout_s: float,
    bodies: LargeBodies | None = None,
) -> tuple[Reply, bool]:
    """
    Replay a letter, edited or not, and wait.

    Args:
        place: The place of the client that waits; its journal is not asked.
        transport: An open transport.
        desk: Where the letter is found, and where it is written down who replays it.
        letter_id: The letter's id or the beginning of it.
        document: The edited envelope as JSON; ``None`` replays the letter unchanged.
        timeout_s: How long to wait, in seconds.
        bodies: Fetches bodies that are kept out of line, and stores large ones.

    Returns:
        The answer, and whether its producer has it too.

    Raises:
        DeadLetterIdError: When the id names no letter, or more than one.
        NotReplayedError: When the letter cannot be replayed.
        EffectTimeoutError: When no answer came in time; the effect goes on.
    """
    letter = await desk.find(letter_id)
    envelope = await _envelope(desk, letter, document)
    store = bodies.store if bodies is not None else None
    place = replace(place, journal=None, attachments=store, replay="execute")
    async with EffectClient(place=place) as client:
        handle = client.attach(envelope)
        reply_to = Names(place.topology.namespace).reply_queue(client.identity)
        if document is not None:
            await desk.replace(letter.id, document, reply_to=reply_to)
        else:
            await _replay(desk, letter, reply_to)
        reply = await handle.reply(timeout_s)
    return reply, await _pass_on(transport, letter, reply, bodies)


async def _envelope(
    desk: DeadDesk, letter: DeadLetter, document: bytes | None
) -> RuntimeEffectEnvelope:
    if document is not None:
        return edit_letter(letter, document).request.envelope
    content = await desk.content(letter)
    if content.request is None:
        raise NotReplayedError(
            f"the letter {letter.id} cannot be replayed as it is: {content.problem}. Mend the "
            "envelope and replay it with --edit"
        )
    return content.request.envelope


async def _replay(desk: DeadDesk, letter: DeadLetter, reply_to: str) -> None:
    report = await desk.replay(DeadFilter(ids=(letter.id,)), reply_to=reply_to)
    if not report.done:
        reason = report.stopped or "; ".join(report.problems) or "it is no longer there"
        raise NotReplayedError(f"the letter {letter.id} was not replayed: {reason}")


async def _pass_on(
    transport: Transport, letter: DeadLetter, reply: Reply, bodies: LargeBodies | None
) -> bool:
    old = letter.message
    if not old.reply_to:
        return False
    content_type = content_type_of(old)
    message = Message(
        body=join_replies([encode_reply(reply, content_type)], content_type),
        content_type=content_type,
        type=OUTCOME_TYPE,
        correlation_id=old.correlation_id,
        headers={names.HASH: reply.hash},
    )
    if bodies is not None and old.headers.get(names.OUT_OF_LINE) is True:
        message = await bodies.outgoing(message)
    try:
        await transport.publish("", old.reply_to, message)
    except UnroutableError:
        return False
    return True
