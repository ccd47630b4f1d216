"""
A limit as somebody sets it: what it holds for, and how much it admits.

Pure values; ``gates`` decides with them, ``tables`` keeps them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.kinds import EFFECT_KINDS, kind_of, unversioned
from effectmq.protocol.numbers import check_number
from effectmq.protocol.text import printable

__all__ = [
    "ANSWERING_KEYS",
    "EVERY_KIND",
    "NAMED_KEYS",
    "Limit",
    "Rate",
    "Source",
    "check_key",
    "check_route",
    "covers",
    "read_rate",
]

#: The route of a limit that holds for effects of every kind.
EVERY_KIND = "*"
#: Keys with a name of their own; any other is the path of a member of the envelope.
NAMED_KEYS = ("tool", "model", "session", "turn", "tenant")
#: Keys of what answers an effect. When that says how long to wait, all effects of the key do.
ANSWERING_KEYS = frozenset({"tool", "model"})

#: Who set a limit. What an operator sets stays when a worker starts with another one.
Source = Literal["program", "operator"]

_PATH = re.compile(r"(?:command|invocation)(?:\.[A-Za-z0-9_-]+)+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.:=*/-]{1,120}", re.ASCII)
_UNFIT = re.compile(r"[^A-Za-z0-9_.:=*/-]", re.ASCII)
_RATE = re.compile(r"(\d{1,9})\s*/\s*(\d{0,6})\s*(s|m|h|d)", re.ASCII)
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
#: A longer period is a slip: so long the starts are remembered.
_LONGEST_PERIOD_MS = 31 * 86_400_000
_MOST = 1_000_000
_MOST_VALUE = 200
_NAME_CHARACTERS = 100
_DEFAULT_COOLDOWN_MS = 30_000


class Rate(NamedTuple):
    """At most ``most`` starts in any time of ``period_ms`` milliseconds; 0 for no such limit."""

    most: int = 0
    period_ms: int = 0

    def __str__(self) -> str:
        """The rate in the form in which it is set."""
        if not self.most:
            return ""
        for unit in ("d", "h", "m", "s"):
            number, rest = divmod(self.period_ms, _UNITS_MS[unit])
            if number and not rest:
                return f"{self.most}/{unit}" if number == 1 else f"{self.most}/{number}{unit}"
        return f"{self.most}/{self.period_ms}ms"


NO_RATE = Rate()


def read_rate(text: str) -> Rate:
    """
    Read a rate, such as ``60/m``, ``5/s`` or ``100/15m``; empty for none.

    Raises:
        ConfigurationError: When it is none.
    """
    if text == "":
        return NO_RATE
    found = _RATE.fullmatch(text.strip()) if _is_text(text) else None
    if found is not None:
        count, period_ms = int(found[1]), int(found[2] or 1) * _UNITS_MS[found[3]]
        if 1 <= count <= _MOST and 0 < period_ms <= _LONGEST_PERIOD_MS:
            return Rate(count, period_ms)
    raise ConfigurationError(
        f"the rate {printable(str(text), 60)!r} cannot be read; expected a number of starts and a "
        "time of at most 31 days, such as 60/m, 5/s, 1000/h or 100/15m"
    )


def _is_text(value: object) -> bool:
    """A program may say anything."""
    return isinstance(value, str)


@dataclass(frozen=True, slots=True)
class Limit:
    """
    One limit.

    Attributes:
        name: Names it; a limit that is set again replaces the one of this name.
        route: The kind it holds for, with all its lanes; ``kind.lane`` for one of them; ``*`` for
            every kind.
        key: What effects are told apart by: ``tool``, ``model``, ``session``, ``turn``, ``tenant``,
            or the path of a member of the envelope, such as ``command.request.provider``. Each
            value has the limit for itself. Empty for one limit for the whole route.
        only: Hold only for this value of the key; empty for each.
        concurrency: How many may run at a time; 0 for any number.
        rate: How many may start in a time.
        breaker: After how many failures one after the other nothing starts for ``cooldown_ms``; 0
            for never.
        cooldown_ms: For how long, in milliseconds.
        source: Who set it.

    Raises:
        ConfigurationError: When it cannot hold, or limits nothing.
    """

    name: str
    route: str
    key: str = ""
    only: str = ""
    concurrency: int = 0
    rate: Rate = NO_RATE
    breaker: int = 0
    cooldown_ms: int = _DEFAULT_COOLDOWN_MS
    source: Source = "program"

    def __post_init__(self) -> None:
        for field in ("name", "route", "key", "only"):
            _check_text(field, getattr(self, field))
        check_route(self.route, "a limit")
        check_key(self.key, "a limit")
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"the limit has the name {printable(self.name, 60)!r}; expected up to 120 letters, "
                "digits and - _ . : = * /"
            )
        if self.only and not self.key:
            raise ConfigurationError("only= is a value of a key; say with key= which")
        for field in ("concurrency", "breaker", "cooldown_ms"):
            value: int = getattr(self, field)
            check_number(field, value, whole=True)
            most = _LONGEST_PERIOD_MS if field == "cooldown_ms" else _MOST
            if not 0 <= value <= most:
                raise ConfigurationError(f"{field} is {value}; expected 0 to {most}")
        if not (self.concurrency or self.rate.most or self.breaker or self.heeds_waits):
            raise ConfigurationError(
                f"the limit {self.name} limits nothing; give it concurrency=, rate= or breaker="
            )

    @classmethod
    def of(
        cls,
        route: str,
        *,
        name: str = "",
        key: str = "",
        only: str = "",
        concurrency: int = 0,
        rate: str = "",
        breaker: int = 0,
        cooldown_s: float | None = None,
        source: Source = "program",
    ) -> Limit:
        """
        Make a limit of what a person says.

        Raises:
            ConfigurationError: See the class.
        """
        cooldown_ms = _DEFAULT_COOLDOWN_MS
        if cooldown_s is not None:
            check_number("cooldown_s", cooldown_s, whole=False)
            if not 0 < cooldown_s * 1_000 <= _LONGEST_PERIOD_MS:
                raise ConfigurationError(
                    f"cooldown_s is {cooldown_s}; expected more than 0 s and at most 31 days"
                )
            cooldown_ms = max(1, round(cooldown_s * 1_000))
        called = name or _default_name(str(route), str(key), str(only))
        return cls(
            called, route, key, only, concurrency, read_rate(rate), breaker, cooldown_ms, source
        )

    @property
    def heeds_waits(self) -> bool:
        """Whether a wait that one effect is told holds for all effects of the key."""
        return self.key in ANSWERING_KEYS

    def covers(self, route: str) -> bool:
        """Whether it holds for effects of a route, bound to a version or not."""
        return covers(self.route, route)


def _check_text(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{field} is {printable(repr(value), 60)}; expected a text")
    if len(value) > _MOST_VALUE:
        raise ConfigurationError(f"{field}= has {len(value)} characters; expected at most 200")
    if "\x00" in value or any("\ud800" <= each <= "\udfff" for each in value):
        raise ConfigurationError(
            f"{field} is {printable(repr(value), 60)}, which no database keeps; expected a text "
            "without NUL and without halves of characters"
        )


def covers(pattern: str, route: str) -> bool:
    """Whether what holds for a kind, a lane or ``*`` holds for a route, with a version or not."""
    return pattern in (EVERY_KIND, route, unversioned(route), kind_of(route))


def check_route(route: str, what: str) -> None:
    """
    Refuse a route that there cannot be.

    Args:
        route: A kind, ``kind.lane`` or ``*``.
        what: What holds for it: ``a limit``.

    Raises:
        ConfigurationError: When it is none.
    """
    if route != EVERY_KIND and kind_of(route) not in EFFECT_KINDS:
        raise ConfigurationError(
            f"{what} for {printable(route, 60)!r} holds for nothing; expected a kind "
            f"({', '.join(EFFECT_KINDS)}), kind.lane, or * for every kind"
        )
    if kind_of(route) == "sleep":
        raise ConfigurationError(
            f"a sleep runs nowhere, so {what} cannot hold for it; set one for what follows it"
        )


def check_key(key: str, what: str) -> None:
    """
    Refuse a key that cannot tell effects apart; an empty one is no key.

    Args:
        key: The key.
        what: What has it: ``a limit``.

    Raises:
        ConfigurationError: When it is none.
    """
    if key and key not in NAMED_KEYS and not _PATH.fullmatch(key):
        raise ConfigurationError(
            f"{what} cannot have the key {printable(key, 60)!r}; expected one of "
            f"{', '.join(NAMED_KEYS)}, or the path of a member of the envelope, such as "
            "command.request.provider"
        )


def _default_name(route: str, key: str, only: str) -> str:
    whole = route + (f":{key}" if key else "") + (f"={only}" if only else "")
    name = _UNFIT.sub("_", whole)[:_NAME_CHARACTERS]
    if name == whole:
        return name
    # Two values that differ in such a character only are two limits.
    return f"{name}-{hashlib.sha256(whole.encode(errors='replace')).hexdigest()[:8]}"
