"""
Dead letters on a terminal.

Their content may come from a stranger, so every text is made printable, and JSON is written with
escapes for control characters.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from effectmq.broker.dead_letters.content import DeadContent, read_content
from effectmq.broker.dead_letters.dead_letters import DeadReport
from effectmq.broker.dead_letters.report import EditPreview
from effectmq.broker.store.letters.audit import AuditLine
from effectmq.broker.store.letters.facts import LetterFacts
from effectmq.broker.store.letters.index import FACETS, Facets
from effectmq.cli.dead.choice import REASONS
from effectmq.cli.terminal.tables import Column, Room, pairs, table
from effectmq.cli.terminal.texts import pretty, short
from effectmq.cli.terminal.times import age, when
from effectmq.protocol.messages.dead_letter import DeadLetter
from effectmq.protocol.text import printable

__all__ = [
    "audit_table",
    "edit_lines",
    "facets_text",
    "letter_table",
    "letter_text",
    "report_lines",
    "tally_line",
]

_MAX_EFFECT = 40
_MAX_ERROR = 72
_MAX_DETAIL = 2_000
_HASH_DIGITS = 12

_COLUMNS = (
    Column("id", least=12, priority=9),
    Column("parked", priority=7),
    Column("reason", least=13, priority=6, most=_MAX_EFFECT),
    Column("kind", least=9, priority=4, most=_MAX_EFFECT),
    Column("attempts", priority=0),
    Column("effect", priority=8, most=_MAX_EFFECT),
    Column("session", least=6, priority=3, most=_MAX_EFFECT),
    Column("turn", least=6, priority=2, most=_MAX_EFFECT),
    Column("hash", least=12, priority=1),
    Column("error", least=20, priority=5, most=_MAX_ERROR),
)

_FACET_COLUMNS = (
    Column("by", priority=9),
    Column("letters", priority=8),
    Column("value", least=20, priority=7, most=_MAX_ERROR),
)

_AUDIT_COLUMNS = (
    Column("begun", priority=8),
    Column("who", least=8, priority=9, most=_MAX_EFFECT),
    Column("action", priority=7),
    Column("which", least=12, priority=5, most=_MAX_ERROR),
    Column("report", least=12, priority=6, most=_MAX_ERROR),
)


def letter_table(letters: Iterable[LetterFacts], now_ms: int, room: Room) -> str:
    """One row a letter."""
    return table(_COLUMNS, [_row(letter, now_ms) for letter in letters], room)


def _row(letter: LetterFacts, now_ms: int) -> tuple[object, ...]:
    return (
        letter.id,
        age(letter.parked_ms, now_ms),
        letter.reason,
        letter.kind,
        letter.attempts or None,
        letter.effect_id,
        letter.session_id,
        letter.turn_id,
        letter.hash[:_HASH_DIGITS],
        _error(letter.code, letter.detail),
    )


def facets_text(facets: Facets, most: int, now_ms: int, room: Room) -> str:
    """How many letters have what; of each facet the most common values."""
    if not facets.letters:
        return "no dead letters"
    rows: list[tuple[object, ...]] = []
    for name in FACETS:
        counts = {value: count for value, count in facets.counts[name].items() if value}
        shown = list(counts.items())[:most]
        rows += [(name, count, value) for value, count in shown]
        if len(counts) > most:
            rest = facets.letters - sum(facets.counts[name].values()) + sum(counts.values())
            rest -= sum(count for _, count in shown)
            rows.append((name, rest, f"… {len(counts) - most} others"))
    oldest = f", the oldest {age(facets.oldest_ms, now_ms)} old" if facets.oldest_ms else ""
    return f"{_letters(facets.letters)}{oldest}\n\n{table(_FACET_COLUMNS, rows, room)}"


def audit_table(lines: Iterable[AuditLine], now_ms: int, room: Room) -> str:
    """One row for each thing that somebody did."""
    return table(
        _AUDIT_COLUMNS,
        [
            (
                age(line.began_ms, now_ms),
                line.who,
                line.action,
                line.choice_json,
                line.report_json if line.ended_ms else "(goes on, or was interrupted)",
            )
            for line in lines
        ],
        room,
    )


def edit_lines(edits: Iterable[EditPreview]) -> list[str]:
    """What a patch makes of letters."""
    lines: list[str] = []
    for each in edits:
        lines.append(f"{each.id} {printable(each.effect_id, 100)}: hash {each.hash[:12]}")
        lines += [
            f"  {change.change} {printable(change.path, 200)}: "
            f"{short(json.dumps(change.before), 60)} -> {short(json.dumps(change.after), 60)}"
            for change in each.changes
        ]
    return lines


def tally_line(reasons: Counter[str], seen: int) -> str:
    """The number of letters by reason; ``seen`` is the number of letters that were read."""
    count = reasons.total()
    if not count:
        return "no dead letters" if not seen else f"none of {_letters(seen)} is meant"
    whole = _letters(count) if count == seen else f"{count} of {_letters(seen)}"
    return f"{whole}: {_reasons(reasons)}"


def letter_text(
    letter: DeadLetter,
    content: DeadContent,
    record: Mapping[str, Any],
    now_ms: int,
    room: Room,
) -> str:
    """Everything about one letter."""
    message = letter.message
    reason = REASONS.get(letter.reason)
    values: list[tuple[str, object]] = [
        ("letter", letter.id),
        ("effect id", _effect_id(letter)),
        ("replay key", letter.replay_key),
        ("hash", letter.hash),
        ("edited from", letter.edited_from or None),
        ("kind", letter.kind),
        ("route", letter.route if letter.route != letter.kind else None),
        ("reason", f"{letter.reason}: {reason}" if reason else letter.reason),
        ("code", letter.code),
        ("attempts", letter.attempts or None),
        ("deaths", letter.deaths or None),
        ("deaths before its replay", letter.former_deaths or None),
        ("parked", when(letter.parked_ms, now_ms)),
        ("by", letter.parked_by),
        ("reply to", message.reply_to),
        ("content type", message.content_type),
        ("message id", message.message_id),
        ("published", when(message.timestamp * 1_000, now_ms)),
        *((name, value) for name, value in record["headers"].items()),
        ("body", f"{record['body_bytes']} bytes, sha256 {record['body_sha256']}"),
    ]
    parts = [pairs(((name, value) for name, value in values if value not in (None, "")), room)]
    parts.append(f"error: {printable(str(record['detail']), _MAX_DETAIL)}")
    if record["envelope"] is not None:
        title = _TITLES.get(content.form, "body (JSON, but no envelope)")
        parts.append(f"{title}:\n{pretty(record['envelope'])}")
    elif record["body_base64"] is not None:
        parts.append(f"body (base64):\n{record['body_base64']}")
    else:
        parts.append("body: left out, because a secret in it could not be found")
    parts.append(_advice(letter, content, record))
    return "\n\n".join(parts)


#: The title of the body, by its form.
_TITLES = {"envelope": "envelope", "outcome": "outcome (carried out, not delivered)"}


def _advice(letter: DeadLetter, content: DeadContent, record: Mapping[str, Any]) -> str:
    if letter.is_outcome:
        return f"deliver it:     effectmq dead replay {letter.id}"
    if content.request is not None:
        return (
            f"replay it:      effectmq dead replay {letter.id}\n"
            f"mend it first:  effectmq dead show {letter.id} --envelope > envelope.json\n"
            f"                effectmq dead replay {letter.id} --edit envelope.json"
        )
    return (
        f"it cannot be replayed unchanged: {printable(str(record['problem']), _MAX_DETAIL)}\n"
        f"mend it:  effectmq dead replay {letter.id} --edit envelope.json"
    )


def report_lines(report: DeadReport, *, done: str, intended: str) -> list[str]:
    """
    The result for the chosen letters.

    Args:
        report: The report.
        done: The verb for what was done, for instance ``replayed``.
        intended: The verb for a dry run, for instance ``would be replayed``.
    """
    if not report.chosen:
        return ["no dead letter is meant; nothing was done"]
    verb = intended if report.dry_run else done
    lines = [
        f"{report.done} of {_letters(report.chosen)} {verb} (chosen: {_reasons(report.by_reason)})"
    ]
    counts = (
        (report.copies, "taken off as second copies of the same parking"),
        (report.skipped, "cannot be replayed as they are"),
        (report.failed, "found no queue"),
        (report.gone, "no longer there"),
        (report.unseen, "gone before they could be looked at: somebody else took them"),
    )
    lines += [f"{count} {what}" for count, what in counts if count]
    return lines


def _effect_id(letter: DeadLetter) -> str:
    if letter.effect_id:
        return letter.effect_id
    # A producer in another language need not send it; the body has it.
    request = read_content(letter).request
    return request.effect_id if request is not None else ""


def _error(code: str, detail: str) -> str:
    # Our own codes repeat the reason; those of handlers say something.
    if not code or code.startswith("effectmq_"):
        return detail
    return f"{code}: {detail}"


def _letters(count: int) -> str:
    return f"{count} dead letter" if count == 1 else f"{count} dead letters"


def _reasons(reasons: Counter[str]) -> str:
    return ", ".join(f"{count} {short(reason, 40)}" for reason, count in reasons.most_common())
