"""
Whether one more effect of a line may start: pure decisions over whole milliseconds.

A *gate* is the state of one line of effects under one limit. The clock is that of leases, which
never jumps; a state of another clock (the host was rebooted) keeps its counts and loses its times.

=================================  ==============================================================
the gate                           one more may start
=================================  ==============================================================
as many run as may                 when one ends, or its worker's lease runs out
as many started as may             when the oldest start is a whole period ago
one was told how long to wait      when that is over, one alone; the others when that one succeeded
too many failures                  likewise, after the cooldown
otherwise                          now
=================================  ==============================================================

The one that asks alone is the *probe*, known by the token of its permit. What had started before
and ends meanwhile neither opens the gate nor counts as the probe's failure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from effectmq.broker.store.admission.deciding.round_robin import Offer
from effectmq.broker.store.admission.declared.limits import Limit

__all__ = [
    "PROBE_MS",
    "Gate",
    "Start",
    "Verdict",
    "clocked",
    "ended",
    "gone",
    "opens_ms",
    "packed",
    "start",
    "unpacked",
]

#: How long one call asks alone before another one may, in milliseconds.
PROBE_MS = 60_000
#: A longer wait is a slip of who asks for it, in milliseconds; after this, one may ask again.
_LONGEST_WAIT_MS = 31 * 86_400_000
#: A start that is further ahead of the clock was noted before that was set back, in milliseconds:
#: transactions that wait for each other read it at moments that differ by less.
_AHEAD_MS = 60_000
#: So many starts of a period are remembered one by one; of more, several share a moment.
_EXACT_STARTS = 1_000


class Start(NamedTuple):
    """So many starts at a moment of the clock of leases."""

    at_ms: int
    number: int


class Verdict(NamedTuple):
    """
    How an attempt ended, as far as its lines are concerned.

    Attributes:
        result: ``neutral`` when it says nothing about what answers.
        wait_ms: How long it was told to wait; 0 for none.
    """

    result: Literal["ok", "failed", "neutral"] = "neutral"
    wait_ms: int = 0


#: The verdict on an attempt that says nothing about what answers.
SAYS_NOTHING = Verdict()


@dataclass(slots=True)
class Gate:
    """
    The state of one line.

    Attributes:
        starts: The latest starts, oldest first.
        held: How many run.
        held_until_ms: When the first of their leases runs out, unless it is renewed.
        blocked_until_ms: Nothing starts before.
        half_open: Whether one alone asks next, or does so now.
        probe: The token of the one that asks; empty when nobody does.
        probe_until_ms: How long it has.
        probe_held_until_ms: When its permit runs out, unless that is renewed.
        failures: Failures one after the other.
        waits: Whether effects may be waiting in the line.
        look_ms: When it is worth looking whether one of them may start.
        offers: The routes that took turns in the line; see ``round_robin``.
    """

    starts: list[Start] = field(default_factory=list[Start])
    held: int = 0
    held_until_ms: int = 0
    blocked_until_ms: int = 0
    half_open: bool = False
    probe: str = ""
    probe_until_ms: int = 0
    probe_held_until_ms: int = 0
    failures: int = 0
    waits: bool = False
    look_ms: int = 0
    offers: list[Offer] = field(default_factory=list[Offer])


def opens_ms(limit: Limit, gate: Gate, now_ms: int) -> int:
    """
    When one more may start, as far as is known; ``now_ms`` or before for now.

    Args:
        limit: What holds.
        gate: The line.
        now_ms: The clock of leases.
    """
    moment_ms = max(now_ms, gate.blocked_until_ms)
    if gate.half_open and gate.probe:
        # Without its permit, the one that asked is gone.
        moment_ms = max(moment_ms, min(gate.probe_until_ms, gate.probe_held_until_ms))
    if limit.concurrency and gate.held >= limit.concurrency:
        # When one ends sooner, the line is looked at then.
        moment_ms = max(moment_ms, gate.held_until_ms, now_ms + 1)
    if limit.rate.most:
        moment_ms = max(moment_ms, _below_rate_ms(limit, gate, now_ms))
    return moment_ms


def _below_rate_ms(limit: Limit, gate: Gate, now_ms: int) -> int:
    """When fewer have started in the period before than may."""
    most, period_ms = limit.rate
    recent = [one for one in gate.starts if one.at_ms > now_ms - period_ms]
    over = sum(one.number for one in recent) - most + 1
    moment_ms = now_ms
    for one in recent:
        if over <= 0:
            break
        over -= one.number
        moment_ms = one.at_ms + period_ms
    return moment_ms


def start(limit: Limit, gate: Gate, token: str, now_ms: int) -> None:
    """One more starts, under a permit of that token."""
    gate.held += 1
    if gate.half_open:
        gate.probe = token
        gate.probe_until_ms = gate.probe_held_until_ms = now_ms + PROBE_MS
    most, period_ms = limit.rate
    if not most:
        gate.starts = []
        return
    # Rounded up, so that none counts for less than its period.
    step_ms = max(1, period_ms // _EXACT_STARTS) if most > _EXACT_STARTS else 1
    at_ms = -(-now_ms // step_ms) * step_ms
    kept = [one for one in gate.starts if one.at_ms > now_ms - period_ms]
    if kept and kept[-1].at_ms >= at_ms:
        at_ms, number = kept.pop()
        kept.append(Start(at_ms, number + 1))
    else:
        kept.append(Start(at_ms, 1))
    gate.starts = kept


def ended(limit: Limit, gate: Gate, token: str, verdict: Verdict, now_ms: int) -> None:
    """One has ended that had a permit of that token."""
    asked_alone = gate.half_open and gate.probe == token
    if asked_alone:
        gone(gate)
    if verdict.wait_ms and (limit.heeds_waits or limit.breaker):
        _block(gate, now_ms + min(verdict.wait_ms, _LONGEST_WAIT_MS))
    elif gate.half_open and not asked_alone:
        # It had started before, and says nothing of what is now.
        return
    elif verdict.result == "failed" and limit.breaker:
        gate.failures += 1
        if asked_alone or gate.failures >= limit.breaker:
            _block(gate, now_ms + limit.cooldown_ms)
    elif verdict.result == "ok" and gate.blocked_until_ms <= now_ms:
        gate.failures = gate.blocked_until_ms = 0
        gate.half_open = False


def gone(gate: Gate) -> None:
    """The one that asked alone is no more; the next one asks."""
    gate.probe = ""
    gate.probe_until_ms = gate.probe_held_until_ms = 0


def _block(gate: Gate, until_ms: int) -> None:
    # One that asks meanwhile goes on doing so, and nobody else does until it has ended.
    gate.blocked_until_ms = max(gate.blocked_until_ms, until_ms)
    gate.half_open = True


def clocked(starts: list[Start], now_ms: int) -> list[Start]:
    """The starts by a clock that may have been set back; what is ahead of it counts from now."""
    ahead = sum(one.number for one in starts if one.at_ms > now_ms + _AHEAD_MS)
    if not ahead:
        return starts
    return [*(one for one in starts if one.at_ms <= now_ms + _AHEAD_MS), Start(now_ms, ahead)]


def packed(starts: list[Start]) -> str:
    """The starts as a text for a column."""
    return " ".join(f"{at}" if number == 1 else f"{at}x{number}" for at, number in starts)


def unpacked(text: str) -> list[Start]:
    """
    The starts of a column.

    Raises:
        ValueError: When another program has written it.
    """
    found: list[Start] = []
    for one in text.split():
        at_ms, _, number = one.partition("x")
        found.append(Start(int(at_ms), int(number or 1)))
    return found
