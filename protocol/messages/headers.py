"""
The headers of effectmq: their names, and how values from a stranger are read.

A producer in another language needs none of them; missing values are derived from the body. A
header that is present is checked: one of the wrong type is ``malformed``, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping

from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages.message import HeaderValue

__all__ = [
    "ATTEMPT",
    "BODY",
    "CRASHES",
    "DEADLINE",
    "DEATHS",
    "DEBOUNCE",
    "DEBOUNCE_AT",
    "DEBOUNCE_MAX",
    "DUE",
    "EDITED_FROM",
    "ELSEWHERE",
    "ELSEWHERE_SINCE",
    "FIRST_SEEN",
    "FORMER_DEATHS",
    "HASH",
    "KIND",
    "LAST_ATTEMPT",
    "MAX_DEBOUNCE_BYTES",
    "MAX_SCOPE_BYTES",
    "MAX_TENANT_BYTES",
    "MAX_VERSION_BYTES",
    "NOT_BEFORE",
    "OUT_OF_LINE",
    "PARKED_AT",
    "PARKED_BY",
    "PARK_CODE",
    "PARK_MESSAGE",
    "PARK_NUMBER",
    "PARK_REASON",
    "PRIORITY",
    "REPLAY_KEY",
    "ROUTE",
    "SCOPE",
    "TENANT",
    "TRACEPARENT",
    "TRACESTATE",
    "UNFETCHED_SINCE",
    "VERSION",
    "carried",
    "integer",
    "revived",
    "text",
]

#: SHA-256 of the canonical envelope, as the producer computed it.
HASH = "effect-hash"
#: The replay key, for reading a message without decoding it.
REPLAY_KEY = "effect-replay-key"
#: The effect scope as canonical JSON, when it is not the one derived from the invocation.
SCOPE = "effect-scope"
#: For whom the effect is done, when one installation works for several; see ``tenant``.
TENANT = "effect-tenant"
#: The version of workers that it is bound to; see ``version``.
VERSION = "effect-version"
#: Which of those that wait is taken first; see ``priority``.
PRIORITY = "effect-priority"
#: The number of the attempt of this delivery, from 1.
ATTEMPT = "effect-attempt"
#: When a worker first saw the effect; milliseconds since the Unix epoch.
FIRST_SEEN = "effect-first-seen"
#: The deadline: after it the outcome is not wanted; milliseconds since the Unix epoch.
DEADLINE = "effect-deadline"
#: No worker begins it before this moment; milliseconds since the Unix epoch. Said by the producer.
NOT_BEFORE = "effect-not-before"
#: Of several effects with this key only the last runs; see ``debounce``. When it was asked for, and
#: for how long others may take its place; milliseconds, the first since the Unix epoch.
DEBOUNCE = "effect-debounce"
DEBOUNCE_AT = "effect-debounce-at"
DEBOUNCE_MAX = "effect-debounce-max"
#: When a sleep ends; milliseconds since the Unix epoch, fixed when a worker first sees it.
DUE = "effect-due"
#: How often the broker gave up on delivering it.
CRASHES = "effect-crashes"
#: How many workers died while they held it, as far as the journal or the deliveries show.
DEATHS = "effect-deaths"
#: How many died before somebody replayed its dead letter.
FORMER_DEATHS = "effect-former-deaths"
#: How many workers gave it back because they lack what it needs, and when the first did;
#: milliseconds since the Unix epoch.
ELSEWHERE = "effect-elsewhere"
ELSEWHERE_SINCE = "effect-elsewhere-since"
#: The body is not in the message but in the attachment store; ``body_reference`` reads it.
BODY = "effect-body"
#: Whether the sender can fetch an answer whose body is kept out of line.
OUT_OF_LINE = "effect-out-of-line"
#: When its body could not be fetched for the first time; milliseconds since the Unix epoch.
UNFETCHED_SINCE = "effect-unfetched-since"
#: W3C trace context, passed on untouched.
TRACEPARENT = "traceparent"
#: The W3C trace state, likewise.
TRACESTATE = "tracestate"
#: The W3C trace context of the last attempt, when the worker that made it was traced.
LAST_ATTEMPT = "effect-last-attempt"

#: The number of a dead letter's parking, as the journal counts them from 1. A replay keeps it: it
#: allows the worker to run again an effect that is recorded as failed.
PARK_NUMBER = "effect-park-number"

#: The following are on dead letters only. Why it was parked, one of ``PARK_REASONS``.
PARK_REASON = "effect-park-reason"
#: The controller error's code and message.
PARK_CODE = "effect-park-code"
PARK_MESSAGE = "effect-park-message"
#: When it was parked; milliseconds since the Unix epoch.
PARKED_AT = "effect-parked-at"
#: The name of the worker that parked it.
PARKED_BY = "effect-parked-by"
#: The kind, and the route (``kind`` or ``kind.lane``) of a replay.
KIND = "effect-kind"
ROUTE = "effect-route"
#: The hash of the envelope before it was edited.
EDITED_FROM = "effect-edited-from"

#: A scope header is never cut, because half of one would be another identity, or none. So its size
#: is limited where it is made and where it is read, in bytes.
MAX_SCOPE_BYTES = 2_048
#: The longest tenant, in bytes.
MAX_TENANT_BYTES = 128
#: The longest version, in bytes.
MAX_VERSION_BYTES = 40
#: The longest debounce key, in bytes.
MAX_DEBOUNCE_BYTES = 128

#: The headers that an effect keeps when it is published again, each with its longest text in bytes.
_CARRIED = {
    HASH: 128,
    REPLAY_KEY: 1_024,
    SCOPE: MAX_SCOPE_BYTES,
    TENANT: MAX_TENANT_BYTES,
    VERSION: MAX_VERSION_BYTES,
    PRIORITY: 16,
    ATTEMPT: 0,
    FIRST_SEEN: 0,
    DEADLINE: 0,
    NOT_BEFORE: 0,
    DEBOUNCE: MAX_DEBOUNCE_BYTES,
    DEBOUNCE_AT: 0,
    DEBOUNCE_MAX: 0,
    DUE: 0,
    CRASHES: 0,
    DEATHS: 0,
    FORMER_DEATHS: 0,
    ELSEWHERE: 0,
    ELSEWHERE_SINCE: 0,
    BODY: 128,
    OUT_OF_LINE: 0,
    UNFETCHED_SINCE: 0,
    TRACEPARENT: 512,
    TRACESTATE: 512,
    LAST_ATTEMPT: 128,
    EDITED_FROM: 128,
    PARK_NUMBER: 0,
}

#: The headers that an effect keeps when somebody replays its dead letter: its identity and its
#: sender. Attempts, waits and deadline are removed, because it shall be done now.
_REVIVED = (
    HASH,
    REPLAY_KEY,
    SCOPE,
    TENANT,
    VERSION,
    PRIORITY,
    BODY,
    OUT_OF_LINE,
    TRACEPARENT,
    TRACESTATE,
    LAST_ATTEMPT,
    EDITED_FROM,
    PARK_NUMBER,
)

#: AMQP integers have 64 bits with sign here.
_MAX_INTEGER = 2**63 - 1


def carried(headers: Mapping[str, HeaderValue]) -> dict[str, HeaderValue]:
    """
    The headers that an effect keeps when it is published again.

    A stranger's headers are kept only when they are known, and short enough to leave room for those
    of
    effectmq: a message over the limit of headers could never leave its queue again.
    """
    return {
        name: value
        for name, value in headers.items()
        if name in _CARRIED and not (isinstance(value, str) and _size(value) > _CARRIED[name])
    }


def revived(headers: Mapping[str, HeaderValue]) -> dict[str, HeaderValue]:
    """The headers that an effect keeps when it is replayed; its deaths become former ones."""
    kept = {name: headers[name] for name in _REVIVED if name in headers}
    deaths = _count(headers, DEATHS) + _count(headers, FORMER_DEATHS)
    return {**kept, FORMER_DEATHS: min(deaths, _MAX_INTEGER)} if deaths else kept


def _count(headers: Mapping[str, HeaderValue], name: str) -> int:
    """A count on a dead letter, where nothing is refused."""
    value = headers.get(name, 0)
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _size(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode(errors="replace"))


def integer(headers: Mapping[str, HeaderValue], name: str, default: int) -> int:
    """
    A header that must be a non-negative integer.

    Raises:
        MalformedError: When it is something else.
    """
    value = headers.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_INTEGER:
        raise MalformedError(name, f"found {_shown(value)}, expected an integer from 0 to 2^63-1")
    return value


def text(headers: Mapping[str, HeaderValue], name: str) -> str:
    """
    A header that must be text; empty when it is missing.

    Raises:
        MalformedError: When it is something else.
    """
    value = headers.get(name, "")
    if not isinstance(value, str):
        raise MalformedError(name, f"found {value!r}, expected text")
    return value


def _shown(value: HeaderValue) -> str:
    return "text" if isinstance(value, str) else repr(value)
