"""
Every setting, once: the options of the command line, the variables, and the table of
docs/settings.md are made from this list.

A setting is also an argument of ``Worker``, ``Client`` or a method of the worker. The first place
that sets it counts: the command line, the argument, the variable, the default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.code.settings import CodeSettings
from effectmq.consumers.processes.settings import ProcessRunnerSettings
from effectmq.consumers.settings import WorkerSettings
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.chosen.priority import NORMAL, PRIORITIES
from effectmq.protocol.messages.chosen.tenant import checked_tenant
from effectmq.protocol.messages.chosen.version import checked_version
from effectmq.protocol.topology import (
    DEFAULT_DELAY_LEVELS_MS,
    DEFAULT_REPLY_EXPIRES_MS,
    TopologySettings,
)
from effectmq.settings.forms import (
    ADDRESS,
    BYTES,
    COUNT,
    LEVELS,
    LOG_LEVEL,
    ROUTES,
    TEXT,
    TIME,
    WHOLE_TIME,
    Form,
    one_of,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["SETTINGS", "Owner", "Setting", "settings_of"]

#: The owners of settings: client and worker share a place and its connections; code and processes
#: are parts of a worker; the API, the program and what is logged are those of commands.
Owner: TypeAlias = Literal[
    "place", "connection", "client", "worker", "code", "process", "api", "program", "log"
]


_NOTHING: Mapping[str, Mapping[str, object]] = {}


@dataclass(frozen=True, slots=True)
class Setting:
    """
    One row of the table.

    Attributes:
        name: Its unique name; with the unit of its value at the end, as in ``lease_s``.
        form: How it is written in an option and in a variable.
        owner: Its owner.
        meaning: A phrase.
        default: The value when it is set nowhere.
        check: Refuses a value that cannot be used, with a ``ConfigurationError``.
        prefix: The part of the name before the argument, for a setting of a worker's part.
    """

    name: str
    form: Form
    owner: Owner
    meaning: str
    default: str
    check: Callable[[Any], object] | None = None
    prefix: str = ""

    @property
    def argument(self) -> str:
        """The name as an argument of its owner."""
        return self.name.removeprefix(self.prefix)

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
        The value of a text.

        Raises:
            ValueError: When it has none, or one that cannot be used.
        """
        value = self.form.read(text)
        if self.check is not None:
            try:
                self.check(value)
            except ConfigurationError as problem:
                raise ValueError(str(problem)) from None
        return value


def _rows(
    kind: type[DataclassInstance],
    owner: Owner,
    *rows: tuple[str, Form, str],
    prefix: str = "",
    beside: Mapping[str, Mapping[str, object]] = _NOTHING,
) -> Iterable[Setting]:
    """
    The fields of a settings class, which has their defaults and their rules.

    Args:
        kind: The class.
        owner: The owner of the settings.
        rows: Field, form and meaning of each.
        prefix: The prefix of their names.
        beside: By field, the values of other fields while it is checked alone.
    """
    defaults = {each.name: each.default for each in fields(kind)}
    for name, form, meaning in rows:
        check = partial(_checked, kind, name, beside.get(name, {}))
        default = form.write(defaults[name])
        yield Setting(f"{prefix}{name}", form, owner, meaning, default, check, prefix)


def _checked(
    kind: Callable[..., object], name: str, others: Mapping[str, object], value: object
) -> None:
    kind(**{**others, name: value})


def _check_reply_expires(value: float) -> None:
    TopologySettings(reply_expires_ms=round(value * 1_000))


def _check_delay_levels(levels_s: Iterable[float]) -> None:
    TopologySettings(delay_levels_ms=tuple(round(level * 1_000) for level in levels_s))


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "broker",
        ADDRESS,
        "place",
        "`amqp://user:password@host/vhost`, or `memory://` for one inside this process; several "
        "nodes of a cluster are separated by commas",
        "memory://",
    ),
    *_rows(TopologySettings, "place", ("namespace", TEXT, "prefix of all queue names")),
    Setting(
        "journal",
        ADDRESS,
        "place",
        "`sqlite:///path/to/file`, `postgresql://user:password@host/database`, `memory://`, or "
        "`none`",
        "in memory beside a broker in memory, else this user's file for the namespace; a client "
        "has none",
    ),
    Setting(
        "attachments",
        ADDRESS,
        "place",
        "attachment store: `file:///directory`, `s3://bucket/prefix`, or `none`",
        "none",
    ),
    Setting(
        "replay",
        one_of("execute", "strict"),
        "place",
        "`strict` answers from the journal only, and executes nothing",
        "execute",
    ),
    Setting(
        "delay_levels_s",
        LEVELS,
        "place",
        "the fixed waiting times, ascending; in option and variable a number without a unit is "
        "milliseconds; the same for all of an installation",
        LEVELS.write(level / 1_000 for level in DEFAULT_DELAY_LEVELS_MS),
        _check_delay_levels,
    ),
    *_rows(
        TopologySettings,
        "place",
        (
            "delivery_limit",
            COUNT,
            "returns after which the broker moves a message to limbo; the same for all of an "
            "installation",
        ),
    ),
    Setting(
        "reply_expires_s",
        TIME,
        "place",
        "how long the reply queue of a client that does not come back is kept; cannot be changed "
        "while the queue exists",
        TIME.write(DEFAULT_REPLY_EXPIRES_MS / 1_000),
        _check_reply_expires,
    ),
    Setting(
        "traces",
        one_of("off", "on", "payloads"),
        "place",
        "spans for OpenTelemetry; `payloads` puts arguments, prompts and results into them; needs "
        "the extra `otel`",
        "off",
    ),
    Setting("identity", TEXT, "client", "names the reply queue, for one live client", "random"),
    Setting(
        "content_type",
        one_of("application/msgpack", "application/json"),
        "client",
        "how envelopes are encoded",
        "application/msgpack",
    ),
    Setting(
        "tenant",
        TEXT,
        "client",
        "for whom effects are done, when a call does not say; at most 128 bytes",
        "nobody",
        checked_tenant,
    ),
    Setting(
        "priority",
        one_of(*PRIORITIES),
        "client",
        "which of the effects that wait is taken first, when a call does not say",
        NORMAL,
    ),
    Setting("name", TEXT, "worker", "shown on dead letters", "host and process id"),
    Setting(
        "app_version",
        TEXT,
        "worker",
        "the version of your application, shown in lists of workers",
        "empty",
    ),
    Setting(
        "worker_version",
        TEXT,
        "worker",
        "the version of the worker, which effects can be bound to (docs/versions.md)",
        "none",
        checked_version,
        prefix="worker_",
    ),
    Setting(
        "http",
        ADDRESS,
        "worker",
        "where metrics and health are served, for instance `127.0.0.1:9464`; needs the extra "
        "`http`",
        "nowhere",
    ),
    *_rows(
        WorkerSettings,
        "worker",
        (
            "concurrency",
            COUNT,
            "effects of each route that run at a time; it is also the prefetch",
        ),
        (
            "route_concurrency",
            ROUTES,
            "the same for single routes: `llm_call=64,tool_call.gpu=1`",
        ),
        (
            "time_limit_s",
            TIME,
            "how long one attempt may run, when its handler does not say",
        ),
        (
            "kill_grace_s",
            TIME,
            "how long a cancelled handler may take to end before it is abandoned",
        ),
        (
            "shutdown_grace_s",
            TIME,
            "how long running effects may take after the first stop signal",
        ),
        (
            "max_crashes",
            COUNT,
            "how often an effect may come out of limbo before it is parked",
        ),
        (
            "max_deaths",
            COUNT,
            "workers that may die of an effect before it is parked",
        ),
        (
            "elsewhere_s",
            TIME,
            "how long what this worker cannot carry out is given back for another one; 0 answers "
            "at once",
        ),
        (
            "max_reply_bytes",
            BYTES,
            "the largest message into which several outcomes are put together",
        ),
        (
            "blocked_loop_s",
            TIME,
            "a handler that blocks the event loop this long is named in the log",
        ),
        (
            "lease_s",
            TIME,
            "how long the journal's lease of a running effect lasts without being renewed",
        ),
        (
            "reply_keep_s",
            TIME,
            "how long a reply queue may take nothing before it counts as gone",
        ),
        (
            "max_abandoned",
            COUNT,
            "handlers that could not be stopped, with which a worker takes no more effects",
        ),
        (
            "log_every",
            COUNT,
            "of how many effects that succeed one is logged, at INFO; 0 logs none",
        ),
        (
            "max_waiting",
            COUNT,
            "effects that may wait in the room until a limit admits them; others go back to the "
            "broker",
        ),
    ),
    *_rows(
        TransportSettings,
        "connection",
        ("max_body_bytes", BYTES, "the largest envelope and the largest answer"),
        ("connect_timeout_s", TIME, "to connect and log in, at the start"),
        ("publish_timeout_s", TIME, "for a publish whose caller gives no time"),
        ("reconnect_max_s", TIME, "the longest wait between two tries to connect again"),
        ("heartbeat_s", WHOLE_TIME, "a dead line is noticed within twice this time"),
        ("publish_window", COUNT, "publishes that may be unconfirmed at a time"),
    ),
    *_rows(
        CodeSettings,
        "code",
        (
            "backend",
            one_of("monty", "cpython"),
            "what interprets blocks: a subset of Python with nothing to reach, or the worker's "
            "Python in a sandbox",
        ),
        (
            "time_limit_s",
            TIME,
            "how long a block may compute; waiting for tools and sleeping does not count",
        ),
        ("wait_limit_s", TIME, "how long one attempt at a block may take, waiting included"),
        ("memory_bytes", BYTES, "how large a session's heap may get"),
        ("output_bytes", BYTES, "how much a block may print"),
        ("state_bytes", BYTES, "how large the kept variables of a session may be"),
        ("max_tool_calls", COUNT, "how many tools a block may call"),
        ("parallel_calls", COUNT, "calls of a block that are under way at a time"),
        ("processes", COUNT, "blocks that run at a time; each has an interpreter process"),
        ("warm_processes", COUNT, "interpreter processes that wait for work"),
        ("blocks_per_process", COUNT, "after how many blocks an interpreter process is replaced"),
        prefix="code_",
        beside={
            "memory_bytes": {"output_bytes": 1},
            "output_bytes": {"memory_bytes": 10**18},
            "processes": {"warm_processes": 1},
            "warm_processes": {"processes": 10**18},
        },
    ),
    *_rows(
        ProcessRunnerSettings,
        "process",
        ("concurrency", COUNT, "processes that run at a time"),
        (
            "host_profile_id",
            TEXT,
            "which processes are this host's; the same for all runners of a database",
        ),
        (
            "lease_s",
            TIME,
            "how long a process belongs to a runner that says nothing; it stands still so long "
            "when the runner's host is lost",
        ),
        ("renew_s", TIME, "how often a runner says that it is still there"),
        ("sweep_s", TIME, "how often to look for processes that nobody runs"),
        ("cancel_grace_s", TIME, "how long a process that was asked to stop may take to end"),
        (
            "shutdown_grace_s",
            TIME,
            "how long running processes may take when the worker stops; the rest runs again "
            "elsewhere",
        ),
        (
            "elsewhere_s",
            TIME,
            "how long a process that this runner cannot run is left to others before it fails here",
        ),
        prefix="process_",
        beside={
            "lease_s": {"renew_s": 1e-9},
            "renew_s": {"lease_s": 1e18},
        },
    ),
    Setting(
        "management",
        ADDRESS,
        "api",
        "RabbitMQ's management API, which knows more of the queues: "
        "`http://user:password@host:15672`; without a login that of the broker",
        "none; what workers report is shown",
    ),
    Setting(
        "api_address",
        ADDRESS,
        "api",
        "where `effectmq api` and `effectmq dashboard` listen; another address than one of this "
        "machine for itself needs tokens",
        "127.0.0.1:9480",
        prefix="api_",
    ),
    Setting(
        "api_tokens",
        TEXT,
        "api",
        "who may ask: `NAME:ROLE:TOKEN` with the role `read` or `operate`, several separated by "
        "commas; or `@/path/to/file` with one on each line, which no list of processes shows",
        "none, so that everybody on this machine may do everything",
        prefix="api_",
    ),
    Setting(
        "api_hosts",
        TEXT,
        "api",
        "the names under which it is asked through a proxy, separated by commas",
        "those of this machine for itself; any at another address",
        prefix="api_",
    ),
    Setting(
        "gc",
        one_of("seldom", "python"),
        "program",
        "how often Python looks for unreachable objects: `seldom` sets aside what there is at the "
        "start and looks at new objects once a second, or after 50,000; `python` leaves it alone",
        "seldom",
    ),
    Setting(
        "log_level",
        LOG_LEVEL,
        "log",
        "what a command logs to stderr, at least",
        "WARNING, and INFO for a worker",
    ),
    Setting(
        "log_format",
        one_of("text", "json"),
        "log",
        "lines for people, or one JSON object a line; `--log-json` is short for `json`",
        "text",
    ),
)


def settings_of(*owners: Owner) -> Iterable[Setting]:
    """The settings of these owners, in the order of the table."""
    return (setting for setting in SETTINGS if setting.owner in owners)
