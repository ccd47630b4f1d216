"""
What is asked of workers, over the control exchange.

Anybody who may publish there can ask, also a producer, which may cancel effects there. So an ask is
checked and bounded, and a worker answers only to queues under the control exchange's name, which
producers can neither make nor read. The pause of a route for all workers is not believed but
looked up (``look``): its mark on the broker decides. Anything else that changes a worker, and to
watch what an effect streams, needs a *proof*: the worker answers the first time with a secret word,
and does it when it is asked again with that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from effectmq.protocol.encoding.codec import encode_tree
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages.fleet import fields
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Identity

__all__ = ["ASK_TYPE", "MOST_SLOTS", "Ask", "AskWord", "WatchAsked", "ask_message", "read_ask"]

#: The AMQP ``type`` of a message that asks something of workers.
ASK_TYPE = "effect.fleet-ask.v1"
MOST_SLOTS = 65_535
_TOKEN_DIGITS = 32
_MOST_PROOFS = 10_000

#: Characters of a scope id and of a replay key.
_MOST_IDENTITY = 65_536

#: ``report`` changes nothing; ``look`` looks at the marks of routes; ``watch`` copies the chunks of
#: one effect for a while.
AskWord = Literal["report", "look", "pause", "resume", "drain", "concurrency", "watch"]


@dataclass(frozen=True, slots=True)
class WatchAsked:
    """
    An effect whose chunks are to be copied to whoever asks.

    Attributes:
        identity: Its scope id and replay key.
        token: Names the watching, the same when it is asked for again; hexadecimal.
    """

    identity: Identity
    token: str


@dataclass(frozen=True, slots=True)
class Ask:
    """
    What is asked of workers.

    Attributes:
        word: What to do; a worker refuses a word that it does not know.
        token: Names the ask; hexadecimal.
        reply_to: The queue for the answers.
        workers: Names of the workers that are meant; empty for all.
        routes: Routes that are meant; empty for all of a worker.
        slots: With ``concurrency``, how many effects of a route may run at a time.
        by: Who asks, for people.
        why: The reason, for people.
        proofs: What workers answered to the same ask without; each counts once.
        watch: With ``watch``, which effect.
    """

    word: AskWord | str
    token: str
    reply_to: str
    workers: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    slots: int = 0
    by: str = ""
    why: str = ""
    proofs: tuple[str, ...] = ()
    watch: WatchAsked | None = None

    @property
    def deed(self) -> tuple[object, ...]:
        """What is to be done, for which a proof counts."""
        watched = (self.watch, self.reply_to) if self.watch else ()
        return (self.word, self.workers, self.routes, self.slots, *watched)


def ask_message(ask: Ask) -> Message:
    """The message with an ask."""
    tree: dict[str, object] = {
        "word": ask.word,
        "token": ask.token,
        "reply_to": ask.reply_to,
        "workers": list(ask.workers),
        "routes": list(ask.routes),
        "slots": ask.slots,
        "by": ask.by,
        "why": ask.why,
        "proofs": list(ask.proofs),
    }
    if ask.watch is not None:
        tree["watch"] = {
            "scope_id": ask.watch.identity.scope_id,
            "replay_key": ask.watch.identity.replay_key,
            "token": ask.watch.token,
        }
    return Message(body=encode_tree(tree, fields.JSON), content_type=fields.JSON, type=ASK_TYPE)


def read_ask(message: Message) -> Ask:
    """
    Read an ask.

    Raises:
        MalformedError: When it is none, or breaks a limit; carries the path.
    """
    members = fields.object_of(message)
    return Ask(
        fields.text(members, "word", 40),
        _token(members),
        fields.name(members, "reply_to"),
        fields.names(members, "workers"),
        fields.names(members, "routes"),
        fields.whole(members, "slots", MOST_SLOTS),
        fields.text(members, "by", 200),
        fields.text(members, "why"),
        fields.names(members, "proofs", _MOST_PROOFS),
        _watch(members.get("watch")),
    )


def _token(members: dict[str, object]) -> str:
    token = fields.name(members, "token")
    if len(token) != _TOKEN_DIGITS or not set(token) <= set("0123456789abcdef"):
        raise MalformedError("token", f"expected {_TOKEN_DIGITS} hexadecimal digits")
    return token


def _watch(value: object) -> WatchAsked | None:
    if value is None:
        return None
    if not is_object(value):
        raise MalformedError("watch", "expected an object")
    scope_id = fields.exact(value, "scope_id", _MOST_IDENTITY)
    replay_key = fields.exact(value, "replay_key", _MOST_IDENTITY)
    return WatchAsked(Identity(scope_id, replay_key), _token(value))
