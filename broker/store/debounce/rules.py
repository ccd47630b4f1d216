"""
The rules of debouncing: a window and an arrival in, an answer and the changed window out.

Pure functions; time is an argument. There is one window for each key. Whoever holds it runs when it
ends; an effect that was asked for later takes its place, and moves the end.

=============================  ===================================================================
an arrival meets               and
=============================  ===================================================================
no window, or one that ended   opens one, and holds it
its own window                 waits for its end, or begins
one of an earlier effect       takes its place
one of a later effect          is superseded, also for a while after that window has ended
=============================  ===================================================================

The end is moved from the moment at which a worker sees an effect, and not from the one at which it
was asked for: effects that wait together in a queue, because workers were away, are debounced, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from effectmq.broker.store.journal.recall import SUPERSEDED
from effectmq.broker.store.journal.records import Effect
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.messages.request import Identity

__all__ = ["Arrival", "Debounced", "Step", "Window", "decide", "superseded_json"]

#: How much a producer's clock may be ahead of the database's before it is corrected. A clock that
#: is wrong by more would keep all others out for as long.
_MOST_AHEAD_MS = 60_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    An effect with a debounce key, as a worker sees it.

    Attributes:
        effect: The effect.
        route: Its kind, with the lane if it has one.
        tenant: For whom it is done; windows of two tenants have nothing to do with each other.
        key: The debounce key.
        asked_ms: When it was asked for, by its producer's clock, Unix milliseconds.
        wait_ms: How long nothing later may come until it runs, in milliseconds.
        max_ms: For how long it may be put off since its window was opened; 0 for no limit.
    """

    effect: Effect
    route: str
    tenant: str
    key: str
    asked_ms: int
    wait_ms: int
    max_ms: int


@dataclass(frozen=True, slots=True)
class Window:
    """
    The window of a key. Times are Unix milliseconds by the database's clock, but for one.

    Attributes:
        holder: The effect that runs at its end.
        asked_ms: When that was asked for, by its producer's clock.
        first_ms: When the window was opened.
        due_ms: When it ends.
        over: Whether it has ended, so that its holder may begin.
    """

    holder: Effect
    asked_ms: int
    first_ms: int
    due_ms: int
    over: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """
    What becomes of an arrival.

    Attributes:
        window: The window from now on; ``None`` when nothing changes.
        left_ms: How long it waits until it is looked at again; 0 when it goes on now.
        loser: The effect that will not run; ``None`` for none.
        winner: The one in whose favour.
    """

    window: Window | None = None
    left_ms: int = 0
    loser: Effect | None = None
    winner: Identity | None = None


@dataclass(frozen=True, slots=True)
class Debounced:
    """
    The answer to a worker.

    Attributes:
        left_ms: How long the effect waits until it is looked at again; 0 when it goes on now, to
            run or to be answered.
        superseded: Whether this look has ended an effect, which may be the one that arrived.
        decided: Whether it was decided at all; else another worker decides.
    """

    left_ms: int = 0
    superseded: bool = False
    decided: bool = True


def decide(window: Window | None, arrival: Arrival, now_ms: int) -> Step:
    """
    What becomes of an effect that no worker has claimed yet.

    Args:
        window: That of its key; ``None`` without one.
        arrival: The effect.
        now_ms: The database's clock.
    """
    asked_ms = min(arrival.asked_ms, now_ms + _MOST_AHEAD_MS)
    if window is None:
        return _held(arrival, asked_ms, now_ms, now_ms)
    if window.holder.identity == arrival.effect.identity:
        return _looked_at(window, now_ms)
    if _order(asked_ms, arrival.effect) < _order(window.asked_ms, window.holder):
        return Step(loser=arrival.effect, winner=window.holder.identity)
    if window.over:
        return _held(arrival, asked_ms, now_ms, now_ms)
    held = _held(arrival, asked_ms, window.first_ms, now_ms)
    return replace(held, loser=window.holder, winner=arrival.effect.identity)


def superseded_json(key: str, winner: Identity) -> str:
    """The recorded error of an effect in whose place another one runs, canonical JSON."""
    message = (
        f"another effect with the debounce key {key!r} was asked for later and runs in its place: "
        f"replay key {winner.replay_key!r} in scope {winner.scope_id!r}; ask for that one to have "
        "its outcome"
    )
    return canonical_json({"code": SUPERSEDED, "message": message}).decode()


def _held(arrival: Arrival, asked_ms: int, first_ms: int, now_ms: int) -> Step:
    """The window with the arrival as its holder."""
    due_ms = now_ms + arrival.wait_ms
    if arrival.max_ms:
        due_ms = min(due_ms, first_ms + arrival.max_ms)
    window = Window(arrival.effect, asked_ms, first_ms, due_ms)
    looked_at = _looked_at(window, now_ms)
    return looked_at if looked_at.window else replace(looked_at, window=window)


def _looked_at(window: Window, now_ms: int) -> Step:
    """What its holder does now."""
    left_ms = window.due_ms - now_ms
    if window.over or left_ms > 0:
        return Step(left_ms=0 if window.over else left_ms)
    return Step(replace(window, over=True))


def _order(asked_ms: int, effect: Effect) -> tuple[int, str, str]:
    """By what the last one is known; the names only tell apart what was asked for at once."""
    return asked_ms, effect.identity.scope_id, effect.identity.replay_key
