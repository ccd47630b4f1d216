"""Which version of the workers carries an effect out."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from effectmq.protocol.messages.fleet.ramps import Ramp

__all__ = ["ToVersion", "bound_elsewhere", "in_share", "ramped"]

_BYTES = 8
_WHOLE = 2.0**64


@dataclass(frozen=True, slots=True)
class ToVersion:
    """An effect goes to the workers of a version, and waits there for one of them."""

    version: str


def bound_elsewhere(bound: str, own: str) -> ToVersion | None:
    """
    Whether an effect must go to the workers of another version.

    Args:
        bound: The version that it is bound to; empty for none.
        own: The version of this worker. One without takes part in no versions, and carries out
            whatever reaches its queue.
    """
    if not bound or not own or bound == own:
        return None
    return ToVersion(bound)


def ramped(ramp: Ramp, own: str, session_id: str) -> ToVersion | None:
    """
    Whether an effect that is bound to no version goes to the one that is ramped.

    Args:
        ramp: How the effects of its route are shared out.
        own: The version of this worker; may be empty.
        session_id: The session of the effect. Its turns and their branches stay together.
    """
    if own == ramp.version or not in_share(session_id, ramp.share):
        return None
    return ToVersion(ramp.version)


def in_share(session_id: str, share: float) -> bool:
    """
    Whether a session is in a share of all sessions, by its hash.

    One that is in a share is in every larger one, too.
    """
    digest = sha256(session_id.encode(errors="replace")).digest()
    return int.from_bytes(digest[:_BYTES]) < share * _WHOLE
