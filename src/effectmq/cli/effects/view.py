"""
How effects of the journal look on a terminal.

Names and errors in them may come from a stranger, so every text is made printable.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from effectmq.broker.store.journal.archive.facts import is_former, payload
from effectmq.broker.store.journal.archive.lineage import Lineage
from effectmq.broker.store.journal.archive.summaries import EffectDetail, EffectSummary
from effectmq.broker.store.journal.attempt_times import AttemptEnd, AttemptTime
from effectmq.broker.store.journal.progress import RecordedProgress
from effectmq.broker.store.journal.records import STATUSES
from effectmq.broker.store.spend.reading import SpendRow
from effectmq.broker.store.spend.records import Sums, usd_text
from effectmq.cli.terminal.colours import Colour
from effectmq.cli.terminal.tables import Column, Room, cut, pairs, table
from effectmq.cli.terminal.texts import pretty, short
from effectmq.cli.terminal.times import age, at, when
from effectmq.protocol.encoding.differences import Difference
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.text import printable

__all__ = [
    "detail_text",
    "difference_lines",
    "effect_table",
    "lineage_text",
    "news_line",
]

_HASH_DIGITS = 12
#: Where there is little room; still enough to name an effect.
_FEWER_DIGITS = 8
_MAX_NAME = 40
_MAX_NOTE = 72
_MAX_VALUE = 60
_MAX_ERROR = 2_000


_STATUS_COLOURS = {
    "completed": Colour.GREEN,
    "failed": Colour.RED,
    "cancelled": Colour.YELLOW,
    "forgotten": Colour.DIM,
}
#: What a list says; what is left out first on a narrow terminal has the lowest priority.
_LIST = (
    Column("hash", least=_HASH_DIGITS, priority=8),
    Column("changed", priority=3),
    Column("status", least=11, priority=7, colours=_STATUS_COLOURS),
    Column("kind", least=9, priority=5),
    Column("attempts", priority=0),
    Column("session", least=6, priority=2, most=_MAX_NAME),
    Column("turn", least=6, priority=1, most=_MAX_NAME),
    Column("effect", priority=6, most=_MAX_NAME),
    Column("note", least=10, priority=4, most=_MAX_NOTE),
)
#: The same of a tree.
_TREE = (
    Column("effect", least=16, priority=5),
    Column("kind", least=9, priority=3),
    Column("status", least=11, priority=4, colours=_STATUS_COLOURS),
    Column("hash", least=_HASH_DIGITS, priority=2),
    Column("changed", priority=0),
    Column("note", least=10, priority=1, most=_MAX_NOTE),
)
#: The attempts of one effect, a line for each stay at a worker.
_ATTEMPTS = (
    Column("attempt", priority=3),
    Column("began", priority=2),
    Column("took", priority=0),
    Column("then", least=12, priority=1),
)
_AFTER: dict[AttemptEnd | None, str] = {
    "again": "given back, to be tried again",
    "handed_out": "handed out, to be answered",
    "died": "its worker died",
    "left": "its worker stopped in order",
    None: "still runs",
}


def effect_table(effects: Iterable[EffectSummary], now_ms: int, room: Room) -> str:
    """One row an effect."""
    rows = [
        (
            _short_hash(effect, room),
            age(effect.updated_ms, now_ms),
            effect.status,
            effect.kind,
            effect.attempts or None,
            effect.session_id,
            effect.turn_id,
            _name(effect),
            _note(effect),
        )
        for effect in effects
    ]
    return table(_LIST, rows, room)


def news_line(effect: EffectSummary, room: Room) -> str:
    """One change, on one line."""
    moment = datetime.fromtimestamp(effect.updated_ms / 1_000).astimezone()
    most = None if room.full else _MAX_NAME
    turn = f" turn {_shortened(effect.turn_id, most)}" if effect.turn_id else ""
    line = (
        f"{moment:%H:%M:%S}  {_short_hash(effect, room):<{_FEWER_DIGITS}}  {effect.status:<11}  "
        f"{effect.kind:<9}  {_shortened(_name(effect), most)}  "
        f"session {_shortened(effect.session_id, most)}{turn}  "
        f"{_shortened(_note(effect), None if room.full else _MAX_NOTE)}"
    )
    shown = printable(line.rstrip())
    return shown if room.columns is None else cut(shown, room.columns)


def _short_hash(effect: EffectSummary, room: Room) -> str:
    return effect.hash[: _FEWER_DIGITS if room.narrow else _HASH_DIGITS]


def _shortened(text: str, most: int | None) -> str:
    return text if most is None else short(text, most)


def detail_text(
    effect: EffectDetail,
    now_ms: int,
    room: Room,
    spent: SpendRow | None = None,
    told: RecordedProgress | None = None,
) -> str:
    """Everything about one effect."""
    code, message = effect.error
    values: list[tuple[str, object]] = [
        ("effect id", effect.effect_id),
        ("replay key", effect.identity.replay_key),
        ("scope", effect.identity.scope_id),
        ("hash", effect.hash),
        ("kind", effect.kind),
        ("status", f"{effect.status}: {STATUSES.get(effect.status, 'unknown')}"),
        ("parked", effect.park_reason),
        ("dead letter", _letter(effect)),
        ("attempts", effect.attempts or None),
        ("progress", told and _progress(effect, told, now_ms)),
        ("deaths", _deaths(effect)),
        ("session", effect.session_id),
        ("turn", effect.turn_id),
        ("caused by", effect.caused_by),
        ("tenant", spent and spent.name),
        ("spent", spent and _spent(spent.sums)),
        ("worker", effect.worker),
        ("lease", f"{effect.lease_left_ms / 1_000:.1f} s left" if effect.lease_left_ms else None),
        ("due", when(effect.due_at_ms, now_ms) if effect.status == "waiting" else None),
        ("first claimed", when(effect.created_ms, now_ms)),
        ("last change", when(effect.updated_ms, now_ms)),
    ]
    parts = [pairs(((name, value) for name, value in values if value not in (None, "")), room)]
    if effect.error_json:
        parts.append(f"error: {printable(f'{code}: {message}', _MAX_ERROR)}")
    if effect.attempt_times and (len(effect.attempt_times) > 1 or effect.attempts > 1):
        parts.append(
            f"attempts:\n{table(_ATTEMPTS, list(map(_attempt, effect.attempt_times)), room)}"
        )
    for title, text in (("envelope", effect.envelope_json), ("outcome", effect.outcome_json)):
        if text:
            parts.append(f"{title}:\n{pretty(payload(text))}")
    if not effect.envelope_json:
        parts.append("envelope: not kept")
    return "\n\n".join(parts)


def _progress(effect: EffectSummary, told: RecordedProgress, now_ms: int) -> str:
    whose = "an earlier run" if is_former(effect, told) else f"attempt {told.progress.attempt}"
    return f"{told.progress}; {whose}, {when(told.told_ms, now_ms)}"


def _spent(sums: Sums) -> str:
    calls = "1 call" if sums.calls == 1 else f"{sums.calls} calls"
    tokens = f"{sums.input_tokens} tokens in, {sums.output_tokens} out, {calls}"
    if sums.unpriced == sums.calls:
        return f"{tokens}; no price is known"
    without = f", {sums.unpriced} without a known price" if sums.unpriced else ""
    return f"{usd_text(sums.nanos)}: {tokens}{without}"


def _attempt(attempt: AttemptTime) -> tuple[object, ...]:
    began_ms, ended_ms = attempt.began_ms, attempt.ended_ms
    took_s = None if began_ms is None or ended_ms is None else (ended_ms - began_ms) / 1_000
    several = f"-{attempt.last}" if attempt.last > attempt.attempt else ""
    return (
        f"{attempt.attempt}{several}",
        "" if began_ms is None else at(began_ms),
        "" if took_s is None else f"{took_s:.2f}s",
        _AFTER.get(attempt.ended, attempt.ended),
    )


def lineage_text(lineage: Lineage, asked: EffectSummary, now_ms: int, room: Room) -> str:
    """A tree for people; the effect that was asked for is marked with ``*``."""
    rows: list[tuple[object, ...]] = []
    top = 0
    most = None if room.full else _MAX_NAME
    if lineage.cause:
        rows.append((_cause(lineage.cause), "", "", "", "", "not in the journal"))
        top = 1
    depths = [node.depth + top for node in lineage.nodes]
    for index, node in enumerate(lineage.nodes):
        effect = node.effect
        mark = " *" if effect.identity == asked.identity else ""
        rows.append(
            (
                f"{_branch(depths[index:])}{_shortened(_name(effect), most)}{mark}",
                effect.kind,
                effect.status,
                _short_hash(effect, room),
                age(effect.updated_ms, now_ms),
                _note(effect),
            )
        )
    return table(_TREE, rows, room)


def difference_lines(found: Iterable[Difference], *, values: bool) -> list[str]:
    """One line a difference: ``+`` added, ``-`` removed, ``~`` changed."""
    lines: list[str] = []
    for one in found:
        sign = {"added": "+", "removed": "-", "changed": "~"}[one.change]
        line = f"{sign} {one.path}"
        if values:
            sides = {
                "added": (one.after,),
                "removed": (one.before,),
                "changed": (one.before, one.after),
            }
            line += f": {' → '.join(_value(value) for value in sides[one.change])}"
        lines.append(line)
    return lines


def _branch(depths: list[int]) -> str:
    """The lines in front of the first of some nodes, whose depths these are."""
    text = ""
    for level in range(1, depths[0] + 1):
        goes_on = next((depth for depth in depths[1:] if depth <= level), 0) == level
        if level == depths[0]:
            text += "├─ " if goes_on else "└─ "
        else:
            text += "│  " if goes_on else "   "
    return text


def _cause(text: str) -> str:
    tree = payload(text)
    if not is_object(tree):
        return short(text, _MAX_NAME)
    # The last member is the id proper; the ones before it say of what.
    *_, own = tree.values()
    return short(f"{tree.get('type')} {own}", _MAX_NAME)


def _value(value: Any) -> str:
    return short(" ".join(pretty(value).split()), _MAX_VALUE)


def _name(effect: EffectSummary) -> str:
    # What was cancelled unseen has nothing but its key.
    return effect.effect_id or effect.identity.replay_key


def _note(effect: EffectSummary) -> str:
    code, message = effect.error
    if effect.status in ("in_progress", "waiting"):
        deaths = f"{effect.deaths} died: " if effect.deaths else ""
        return f"{deaths}{effect.worker}"
    if effect.status == "forgotten":
        return ""
    parked = f"{effect.park_reason}: " if effect.park_reason else ""
    # Our own codes say no more than their message.
    said = message if code.startswith("effectmq_") or not code else f"{code}: {message}"
    return f"{parked}{said}"


def _deaths(effect: EffectSummary) -> str | None:
    """How many workers died running it, and which."""
    if not effect.deaths and not effect.former_deaths:
        return None
    who = f": {', '.join(effect.dead_workers.splitlines())}" if effect.dead_workers else ""
    former = f" ({effect.former_deaths} before its replay)" if effect.former_deaths else ""
    return f"{effect.deaths}{former}{who}"


def _letter(effect: EffectDetail) -> str | None:
    if not effect.park_reason:
        return None
    return "sent" if effect.letter_sent else "not known to be out yet"
