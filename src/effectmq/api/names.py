"""How effects, and places in lists, are written in addresses."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from effectmq.api.problems import ProblemError
from effectmq.broker.store.journal.archive.summaries import Place
from effectmq.broker.store.letters.selecting import Cursor
from effectmq.protocol.messages.request import Identity

__all__ = [
    "effect_name",
    "effect_place",
    "identity_of",
    "letter_place",
    "written",
    "written_letter",
]

_KEY = "key."


def effect_name(identity: Identity) -> str:
    """An effect in a path: its primary key, whatever characters that has."""
    return _KEY + _packed([identity.scope_id, identity.replay_key])


def identity_of(name: str) -> Identity | None:
    """The effect that ``effect_name`` wrote; ``None`` for another name."""
    if not name.startswith(_KEY):
        return None
    match _unpacked(name.removeprefix(_KEY)):
        case [str(scope_id), str(replay_key)]:
            return Identity(scope_id, replay_key)
        case _:
            return None


def written(place: Place | None) -> str | None:
    """A place in a list of effects."""
    return None if place is None else _packed(list(place))


def effect_place(text: str | None) -> Place | None:
    """
    The place that ``written`` wrote.

    Raises:
        ProblemError: When it is none.
    """
    if not text:
        return None
    match _unpacked(text):
        case [int(updated_ms), str(scope_id), str(replay_key)] if abs(updated_ms) < 2**63:
            return Place(updated_ms, scope_id, replay_key)
        case _:
            raise _no_place()


def written_letter(place: Cursor | None) -> str | None:
    """A place in a list of dead letters, as ``effectmq dead list`` prints it."""
    return None if place is None else f"{place.parked_ms}-{place.letter_id}"


def letter_place(text: str | None) -> Cursor | None:
    """
    The place that ``written_letter`` wrote.

    Raises:
        ProblemError: When it is none.
    """
    if not text:
        return None
    parked, _, letter_id = text.partition("-")
    if not parked.isascii() or not parked.isdecimal() or len(parked) > 18 or "\x00" in letter_id:
        raise _no_place()
    return Cursor(int(parked), letter_id)


def _no_place() -> ProblemError:
    return ProblemError(
        422, "not_valid", "the cursor is no place in a list; take it from 'next' of a page"
    )


def _packed(value: list[object]) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _unpacked(text: str) -> object:
    try:
        found = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        # Halves of pairs are no text that a database has.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found
