"""
Every setting, once: out of this list come the options of the command line, the variables, and the
table of docs/settings.md.

A setting is an argument of ``Worker`` or ``Client`` as well. The first of these that says something
counts: the command line, the argument, the variable, the default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal, TypeAlias

from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.settings import WorkerSettings
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable
from effectmq.protocol.topology import DEFAULT_REPLY_EXPIRES_MS, TopologySettings
from effectmq.settings.durations import read_duration

__all__ = ["SETTINGS", "Form", "Setting", "settings_of"]

#: Who has a setting: both have a place, and connections to it.
Owner: TypeAlias = Literal["place", "connection", "client", "worker"]

_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Form:
    """
    How a setting is typed.

    Attributes:
        unit: For the table.
        metavar: For help texts.
        read: The value that a text means; a ``ValueError`` says what was found and expected.
        write: A text that means a value.
        secret: What is typed may hold a password.
    """

    unit: str
    metavar: str
    read: Callable[[str], object]
    write: Callable[[Any], str] = str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """
    One row of the table.

    Attributes:
        name: The argument; with the unit of its value at the end, as in ``lease_s``.
        form: How it is typed in an option and in a variable.
        owner: Who has it.
        meaning: A phrase.
        default: What counts when nobody says anything.
        check: Refuses a value that cannot be used, with a ``ConfigurationError``.
    """

    name: str
    form: Form
    owner: Owner
    meaning: str
    default: str
    check: Callable[[Any], object] | None = None

    @property
    def word(self) -> str:
        """The name without its unit, which is typed with the value."""
        return self.name.removesuffix("_ms").removesuffix("_s")

    @property
    def option(self) -> str:
        """The option of the command line."""
        return f"--{self.word.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """The variable."""
        return f"EFFECTMQ_{self.word.upper()}"

    def read(self, text: str) -> object:
        """
        The value that a text means.

        Raises:
            ValueError: When it means none, or one that cannot be used.
        """
        value = self.form.read(text)
        if self.check is not None:
            try:
                self.check(value)
            except ConfigurationError as problem:
                raise ValueError(str(problem)) from None
        return value


def _text(text: str) -> str:
    return text


def _number(text: str) -> int:
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit() and len(stripped) <= _MOST_DIGITS:
        return int(stripped)
    raise ValueError(
        f"found {printable(text, 40)!r}, expected a whole number of at most {_MOST_DIGITS} digits"
    )


def _time(text: str) -> float:
    found = read_duration(text)
    if found is None:
        raise ValueError(
            f"found {printable(text, 40)!r}, expected a time of at most 100 years, for instance "
            "30, 250ms, 1h30m or 30d"
        )
    return found


def _whole_seconds(text: str) -> int:
    found = _time(text)
    if found != int(found):
        raise ValueError(f"found {printable(text, 40)!r}, expected whole seconds, for instance 10s")
    return int(found)


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length and not seconds % length:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:.15g}s"


def _levels(text: str) -> tuple[int, ...]:
    levels = [_level_ms(part.strip()) for part in text.split(",") if part.strip()]
    if levels and None not in levels:
        return tuple(level for level in levels if level is not None)
    raise ValueError(
        f"found {printable(text, 100)!r}, expected times separated by commas, for instance "
        "1s,5s,1m; numbers without a unit are milliseconds"
    )


def _level_ms(text: str) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text) if len(text) <= _MOST_DIGITS else None
    found_s = read_duration(text)
    return None if found_s is None else round(found_s * 1_000)


def _spans(levels_ms: Iterable[int]) -> str:
    return ",".join(_span(level / 1_000) for level in levels_ms)


def _routes(text: str) -> dict[str, int]:
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    if not pairs or not all(route and separator for route, separator, _ in pairs):
        raise ValueError(
            f"found {printable(text, 100)!r}, expected numbers by route, for instance "
            "llm_call=64,tool_call.gpu=1"
        )
    return {route.strip(): _number(most) for route, _, most in pairs}


def _shown_routes(most: Mapping[str, int] | None) -> str:
    return ",".join(f"{route}={number}" for route, number in (most or {}).items()) or "none"


def _one_of(*words: str) -> Form:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"found {printable(text, 40)!r}, expected {' or '.join(words)}")
        return text

    return Form(" or ".join(words), "|".join(words), read)


_TEXT = Form("text", "TEXT", _text)
_ADDRESS = Form("address", "URL", _text, secret=True)
_COUNT = Form("number", "N", _number)
_BYTES = Form("bytes", "BYTES", _number)
_TIME = Form("time", "TIME", _time, _span)
_ROUTES = Form("number for each route", "ROUTE=N,…", _routes, _shown_routes)
_WHOLE_TIME = Form("time", "TIME", _whole_seconds, _span)
_LEVELS = Form("times", "TIMES", _levels, _spans)


def _rows(
    kind: type[WorkerSettings | TransportSettings | TopologySettings],
    owner: Owner,
    *rows: tuple[str, Form, str],
) -> Iterable[Setting]:
    """Fields of a settings class, which has their defaults and their rules."""
    defaults = {each.name: each.default for each in fields(kind)}
    for name, form, meaning in rows:
        yield Setting(
            name, form, owner, meaning, form.write(defaults[name]), partial(_checked, kind, name)
        )


def _checked(kind: Callable[..., object], name: str, value: object) -> None:
    kind(**{name: value})


def _check_reply_expires(value: float) -> None:
    TopologySettings(reply_expires_ms=round(value * 1_000))


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "broker",
        _ADDRESS,
        "place",
        "`amqp://user:password@host/vhost`, or `memory://` for one inside this process; several "
        "nodes of a cluster are separated by commas",
        "memory://",
    ),
    *_rows(TopologySettings, "place", ("namespace", _TEXT, "prefix of all queue names")),
    Setting(
        "journal",
        _ADDRESS,
        "place",
        "`sqlite:///path/to/file`, `postgresql://user:password@host/database`, or `none`",
        "this user's file for the namespace; a client has none",
    ),
    Setting(
        "attachments",
        _ADDRESS,
        "place",
        "attachment store: `file:///directory`, `s3://bucket/prefix`, or `none`",
        "none",
    ),
    Setting(
        "replay",
        _one_of("execute", "strict"),
        "place",
        "`strict` answers from the journal only, and executes nothing",
        "execute",
    ),
    *_rows(
        TopologySettings,
        "place",
        (
            "delay_levels_ms",
            _LEVELS,
            "the fixed waiting times, ascending; a number without a unit is milliseconds; the same "
            "for all of an installation",
        ),
        (
            "delivery_limit",
            _COUNT,
            "returns after which the broker moves a message to limbo; the same for all of an "
            "installation",
        ),
    ),
    Setting(
        "reply_expires_s",
        _TIME,
        "place",
        "how long the reply queue of a client that does not come back is kept",
        _span(DEFAULT_REPLY_EXPIRES_MS / 1_000),
        _check_reply_expires,
    ),
    Setting("identity", _TEXT, "client", "names the reply queue, for one live client", "random"),
    Setting(
        "content_type",
        _one_of("application/msgpack", "application/json"),
        "client",
        "how envelopes are encoded",
        "application/msgpack",
    ),
    Setting("name", _TEXT, "worker", "shown on dead letters", "host and process id"),
    *_rows(
        WorkerSettings,
        "worker",
        (
            "concurrency",
            _COUNT,
            "effects of each route that run at a time; it is also the prefetch",
        ),
        (
            "route_concurrency",
            _ROUTES,
            "the same for single routes: `llm_call=64,tool_call.gpu=1`",
        ),
        (
            "time_limit_s",
            _TIME,
            "how long one attempt may run, when its handler does not say",
        ),
        (
            "kill_grace_s",
            _TIME,
            "how long a cancelled handler may take to end before it is abandoned",
        ),
        (
            "shutdown_grace_s",
            _TIME,
            "how long running effects may take after the first stop signal",
        ),
        (
            "max_crashes",
            _COUNT,
            "how often an effect may come out of limbo before it is parked",
        ),
        (
            "max_deaths",
            _COUNT,
            "workers that may die of an effect before it is parked",
        ),
        (
            "elsewhere_s",
            _TIME,
            "how long what this worker cannot carry out is given back for another one; 0 answers "
            "at once",
        ),
        (
            "max_reply_bytes",
            _BYTES,
            "the largest message into which several outcomes are put together",
        ),
        (
            "blocked_loop_s",
            _TIME,
            "a handler that blocks the event loop this long is named in the log",
        ),
        (
            "lease_s",
            _TIME,
            "how long the journal's lease of a running effect lasts without being renewed",
        ),
        (
            "reply_keep_s",
            _TIME,
            "how long a reply queue may take nothing before it counts as gone",
        ),
        (
            "max_abandoned",
            _COUNT,
            "handlers that could not be stopped, with which a worker takes no more effects",
        ),
    ),
    *_rows(
        TransportSettings,
        "connection",
        ("max_body_bytes", _BYTES, "the largest envelope and the largest answer"),
        ("connect_timeout_s", _TIME, "to connect and log in, at the start"),
        ("publish_timeout_s", _TIME, "for a publish whose caller gives no time"),
        ("reconnect_max_s", _TIME, "the longest wait between two tries to connect again"),
        ("heartbeat_s", _WHOLE_TIME, "a dead line is noticed within twice this time"),
        ("publish_window", _COUNT, "publishes that may be unconfirmed at a time"),
    ),
)


def settings_of(*owners: Owner) -> Iterable[Setting]:
    """The settings of these owners, in the order of the table."""
    return (setting for setting in SETTINGS if setting.owner in owners)
