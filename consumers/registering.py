"""
What a worker can do: its tools, its handlers, and what they need while they run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar, overload

from effectmq.broker.client.turns.tool_calls.functions import remember_tool, tool_of
from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.journal.records import OnUncertain
from effectmq.broker.store.spend.ceilings import Ceiling
from effectmq.broker.store.spend.records import Dimension, OnExceeded, Period, budget_nanos
from effectmq.broker.timetable.missed import MissedPolicy
from effectmq.broker.timetable.schedule import Schedule, timing_of
from effectmq.consumers.decisions.retry import DEFAULT_RETRY, RetryPolicy, policy_of_tool
from effectmq.consumers.handler import Handler, HandlerFunction, function_handler
from effectmq.consumers.sleep import SleepHandler
from effectmq.consumers.tools.functions.reading_back import function_tool
from effectmq.consumers.tools.functions.typed import tool_from
from effectmq.consumers.tools.handler import ToolHandler
from effectmq.consumers.tools.registry import Tool
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.kinds import EFFECT_KINDS, route_of
from effectmq.protocol.numbers import milliseconds_of
from effectmq.protocol.wire.tool_retry import ToolRetryPolicy

if TYPE_CHECKING:
    from effectmq.broker.store.admission.declared.shares import Share

__all__ = ["Registrations"]

F = TypeVar("F", bound=HandlerFunction)


class Registrations:
    """
    What a worker can do, as a program registers it.

    Args:
        tools: Carries out the tools that are registered here.
    """

    def __init__(self, tools: ToolHandler) -> None:
        self._tools = tools
        self._handlers: dict[str, Handler] = {"sleep": SleepHandler()}
        self._ceilings: list[Ceiling] = []
        self._schedules: dict[str, Schedule] = {}
        self._resources: list[tuple[AbstractAsyncContextManager[object], frozenset[str]]] = []
        self._limits: dict[str, Limit] = {}
        self._shares: dict[str, Share] = {}

    @property
    def _is_running(self) -> bool:
        """Whether it is too late for a resource; the worker knows."""
        return False

    def _comes_too_late(self, route: str) -> bool:
        """Whether a worker that takes all that it has runs already without this route."""
        return False

    def _check_in_time(self, route: str, what: str) -> None:
        if self._comes_too_late(route):
            raise ConfigurationError(
                f"the worker runs already, and does not take {route} effects, so {what} would do "
                "nothing; register it before the worker starts"
            )

    @property
    def tools(self) -> dict[str, Tool]:
        """The registered tools by name; those of MCP servers only while the worker runs."""
        return self._tools.tools

    @property
    def mcp_servers(self) -> tuple[str, ...]:
        """The MCP servers whose tools it has, each as a phrase for people."""
        return tuple(str(source) for source in self._tools.sources)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that this worker has handlers for."""
        return tuple(self._handlers)

    @property
    def routes(self) -> tuple[str, ...]:
        """The routes that it consumes by default: its kinds, and the lanes of its tools."""
        return (*self._handlers, *self._tools.routes)

    def schedule(
        self,
        name: str,
        tool: str | Callable[..., object] | None = None,
        *,
        cron: str | None = None,
        zone: str | None = None,
        every_s: float | None = None,
        args: Mapping[str, Any] | None = None,
        kind: str | None = None,
        lane: str | None = None,
        missed: MissedPolicy = "one",
    ) -> None:
        """
        Ask for an effect again and again, at stated times; docs/later.md says what is promised.

        It is kept in the journal's database when the worker starts; any worker of the namespace
        carries it out. The last worker to start says what the schedule of a name is. One that the
        program no longer has goes on until it is removed (``effectmq schedule remove``).

        Args:
            name: Names it, and with its time each of its effects for ever.
            tool: The tool to call, or its registered function.
            cron: A cron expression of five fields, for instance ``30 2 * * MON-FRI``.
            zone: The time zone of the expression; UTC by default.
            every_s: Instead of an expression an interval in seconds, counted from 1970 on.
            args: The arguments of the tool, or the members of the command of a ``kind``.
            kind: Instead of a tool, the kind of the effect.
            lane: The lane of the kind; that of a function by default.
            missed: What becomes of times at which no worker looked: ``one`` carries out the last
                of them, ``all`` up to a hundred, ``skip`` none.

        Raises:
            ConfigurationError: When a part of it cannot be used, the name is taken, or the worker
                runs already.
            MissingExtraError: For an expression, when the extra ``schedules`` is not installed.
        """
        if self._is_running:
            raise ConfigurationError("the worker runs already; call schedule() before it starts")
        if name in self._schedules:
            raise ConfigurationError(f"there is a schedule {name!r} already; choose another name")
        if tool is not None and not isinstance(tool, str):
            known = tool_of(tool)
            tool, lane = known.name, known.lane if lane is None else lane
        # It loads the types of the wire, which a worker without schedules does without.
        from effectmq.broker.schedules.effects import made_schedule

        every_ms = None if every_s is None else milliseconds_of("every_s", every_s)
        self._schedules[name] = made_schedule(
            name,
            timing_of(cron, zone, every_ms),
            tool=tool,
            args=args,
            kind=kind,
            lane=lane,
            missed=missed,
        )

    @overload
    def tool(self, function: F, /) -> F: ...

    @overload
    def tool(
        self,
        /,
        *,
        name: str | None = None,
        retry: RetryPolicy | ToolRetryPolicy | None = None,
        time_limit_s: float | None = None,
        on_uncertain: OnUncertain = "retry",
        lane: str | None = None,
    ) -> Callable[[F], F]: ...

    def tool(
        self,
        function: F | None = None,
        /,
        *,
        name: str | None = None,
        retry: RetryPolicy | ToolRetryPolicy | None = None,
        time_limit_s: float | None = None,
        on_uncertain: OnUncertain = "retry",
        lane: str | None = None,
    ) -> F | Callable[[F], F]:
        """
        Register a typed function as a tool; the function itself is left as it is.

        Args:
            function: When used without parentheses.
            name: What calls name it; the function's own name by default.
            retry: When a failure is tried again; never by default.
            time_limit_s: How long one attempt may run, in seconds.
            on_uncertain: With a journal, what to do when a worker died while it ran: ``retry``, or
                ``park`` for a tool that must never run twice.
            lane: The lane of ``tool_call`` that its calls take, for a tool that scales by itself.

        Raises:
            ConfigurationError: When the signature cannot be a tool's, the name is taken, or the
                worker runs already and does not take the tool's route.
        """
        what = "a tool" if name is None else f"tool {name!r}"
        policy = policy_of_tool(what, retry, stacklevel=2)

        def register(target: F) -> F:
            tool = tool_from(
                target,
                name=name,
                retry=policy,
                time_limit_s=time_limit_s,
                on_uncertain=on_uncertain,
                lane=lane,
            )
            self._check_in_time(route_of("tool_call", tool.lane), f"the tool {tool.name!r}")
            self._tool_handler().add(tool)
            self._handlers["tool_call"] = self._tools
            remember_tool(target, function_tool(tool, target))
            return target

        return register if function is None else register(function)

    def _tool_handler(self) -> ToolHandler:
        if self._handlers.get("tool_call", self._tools) is not self._tools:
            raise ConfigurationError(
                "tool_call effects have a handler already, which would hide every tool; "
                "register tools or a handler"
            )
        return self._tools

    def mcp(
        self,
        server: str | Sequence[str],
        *,
        prefix: str = "",
        only: Collection[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        headers: Mapping[str, str] | None = None,
        retry: RetryPolicy | ToolRetryPolicy | None = None,
        time_limit_s: float | None = None,
        connect_timeout_s: float = 15.0,
        on_uncertain: OnUncertain = "retry",
        lane: str | None = None,
    ) -> None:
        """
        Register the tools of an MCP server; the worker connects when it starts.

        Args:
            server: A command and its arguments, for a server that the worker starts and talks to
                over stdin and stdout; or the ``http://…`` address of one that runs already.
            prefix: What the names of its tools begin with here, for instance ``files.``.
            only: The names (without prefix) of the tools to take; all by default.
            env: Variables for a command, beside a few harmless ones of the worker's.
            cwd: The folder in which to start a command.
            headers: HTTP headers for an address, for instance ``Authorization``.
            retry: When a failure is tried again; never by default.
            time_limit_s: How long one attempt may run, in seconds.
            connect_timeout_s: How long the server may take to start and to tell its tools.
            on_uncertain: With a journal, what to do when a worker died while a tool ran.
            lane: The lane of ``tool_call`` that calls of its tools take.

        Raises:
            MissingExtraError: When the extra ``mcp`` is not installed.
            ConfigurationError: When an argument cannot be used, or the worker runs already.
        """
        if self._is_running:
            raise ConfigurationError(
                "the worker runs already, and asks MCP servers for their tools only when it "
                "starts; call mcp() before that"
            )
        # Not at the top: the MCP library is an extra, and slow to load for those without servers.
        from effectmq.consumers.tools.mcp import McpServer, McpTools

        self._tool_handler().sources.append(
            McpTools(
                McpServer.of(
                    server,
                    prefix=prefix,
                    only=None if only is None else frozenset(only),
                    env=dict(env or {}),
                    cwd=cwd,
                    headers=dict(headers or {}),
                    retry_policy=policy_of_tool("an MCP server", retry),
                    time_limit_s=time_limit_s,
                    connect_timeout_s=connect_timeout_s,
                    on_uncertain=on_uncertain,
                    lane=lane or "",
                )
            )
        )
        self._handlers["tool_call"] = self._tools

    def handler(
        self,
        kind: str,
        *,
        retry: RetryPolicy = DEFAULT_RETRY,
        time_limit_s: float | None = None,
        on_uncertain: OnUncertain = "retry",
    ) -> Callable[[F], F]:
        """
        Register a function for a kind.

        It takes the typed command, and an ``EffectContext`` when it has a second parameter, and
        returns the outcome of the kind.

        Args:
            kind: One of the eight effect kinds.
            retry: What to do when it raises.
            time_limit_s: How long one attempt may run, in seconds.
            on_uncertain: With a journal, what to do when a worker died while it ran: ``retry``, or
                ``park`` for an effect that must never run twice.

        Raises:
            ConfigurationError: When the kind does not exist or has a handler already.
        """

        def register(target: F) -> F:
            self.add(function_handler(kind, target, retry, time_limit_s, on_uncertain))
            return target

        return register

    def add(self, handler: Handler) -> None:
        """
        Register a handler object for its kind: one that comes with effectmq, or one of yours.

        One that is an asynchronous context manager as well is entered after the resources of the
        worker (``use``) when the worker takes its kind, and left before them.

        Raises:
            ConfigurationError: When the kind does not exist or has a handler already, or the worker
                runs already with everything that it had.
        """
        kind = handler.kind
        if kind not in EFFECT_KINDS:
            raise ConfigurationError(
                f"there is no effect kind {kind!r}; expected one of {', '.join(EFFECT_KINDS)}"
            )
        if kind in self._handlers:
            raise ConfigurationError(f"{kind} effects have a handler already; register one only")
        self._check_in_time(kind, "its handler")
        self._handlers[kind] = handler

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits that this program sets."""
        return tuple(self._limits.values())

    def limit(
        self,
        route: str,
        *,
        key: str = "",
        only: str = "",
        concurrency: int = 0,
        rate: str = "",
        breaker: int = 0,
        cooldown_s: float | None = None,
        name: str = "",
    ) -> None:
        """
        Set a limit for all workers together; docs/limits.md says what it promises.

        It is set when the worker starts, and stays until somebody clears it. One of the same name
        that an operator has set (``effectmq limits set``) wins.

        Args:
            route: The kind it holds for, with all its lanes; ``kind.lane``, or ``*`` for every
                kind.
            key: What each has for itself: ``tool``, ``model``, ``session``, ``turn``, ``tenant``,
                or a member of the envelope, such as ``command.request.provider``. By default the
                whole route has one limit.
            only: Hold only for this value of the key.
            concurrency: How many attempts may run at a time.
            rate: How many may start in any such time, for instance ``60/m``.
            breaker: After how many failures one after the other nothing starts for a while.
            cooldown_s: For how long, in seconds; 30 by default.
            name: Names the limit; made of route, key and value by default.

        Raises:
            ConfigurationError: When it cannot hold or limits nothing, or the worker runs already.
        """
        if self._is_running:
            raise ConfigurationError(
                "the worker runs already; call limit() before it starts, or set the limit with "
                "'effectmq limits set'"
            )
        limit = Limit.of(
            route,
            name=name,
            key=key,
            only=only,
            concurrency=concurrency,
            rate=rate,
            breaker=breaker,
            cooldown_s=cooldown_s,
        )
        if limit.name in self._limits:
            raise ConfigurationError(
                f"there is a limit {limit.name!r} already; give one of the two another name="
            )
        self._limits[limit.name] = limit

    @property
    def shares(self) -> tuple[Share, ...]:
        """The routes that this program shares out."""
        return tuple(self._shares.values())

    def share(
        self, route: str, *, key: str = "tenant", weights: Mapping[str, float] | None = None
    ) -> None:
        """
        Share a route fairly, whatever one tenant has queued; docs/fairness.md says how.

        Args:
            route: The kind that is shared, with all its lanes; ``kind.lane``, or ``*`` for every
                kind. Each queue is shared for itself.
            key: Among whom: ``tenant``, which is the session for an effect without a tenant,
                ``session``, ``tool``, ``model``, ``turn``, or a member of the envelope, such as
                ``command.request.provider``.
            weights: The weights of single values of the key, 0.001 to 1,000; 1 for all others.
                Who has weight 3 starts three effects for one of the others.

        Raises:
            ConfigurationError: When it cannot be shared so, or the worker runs already. When the
                worker starts: without a journal.
        """
        if self._is_running:
            raise ConfigurationError("the worker runs already; call share() before it starts")
        if route in self._shares:
            raise ConfigurationError(f"{route} is shared already; call share() once for a route")
        # Not at the top: most workers share nothing.
        from effectmq.broker.store.admission.declared.shares import Share

        self._shares[route] = Share(route, key, dict(weights or {}))

    def spend_limit(
        self,
        *,
        usd: Decimal | float | str | None = None,
        tokens: int | None = None,
        by: Dimension = "all",
        name: str | None = None,
        per: Period = "month",
        on_exceeded: OnExceeded = "refuse",
    ) -> None:
        """
        Set a ceiling on what calls of models may spend, in the whole namespace.

        It is kept in the journal's database when the worker starts, and stays there until somebody
        clears it. One that a person has set (``effectmq spend limit set``) wins.

        Args:
            usd: The most money, in US dollars.
            tokens: The most tokens of requests and answers.
            by: ``tenant``, ``session`` or ``model``, or ``all`` for everything together.
            name: Which tenant, session or model; each of them when ``None``.
            per: ``day``, ``month`` (both in UTC) or ``ever``.
            on_exceeded: ``refuse`` parks the effect with ``effectmq_spend_exceeded``; ``wait``
                keeps it outside of workers until there is room.

        Raises:
            ConfigurationError: When it allows neither money nor tokens, an argument cannot be used,
                or the worker runs already. When the worker starts: without a journal.
        """
        if self._is_running:
            raise ConfigurationError(
                "the worker runs already; call spend_limit() before that, or set the ceiling with "
                "effectmq spend limit set"
            )
        self._ceilings.append(
            Ceiling(
                by=by,
                name=name,
                per=per,
                nanos=None if usd is None else budget_nanos(usd),
                tokens=tokens,
                on_exceeded=on_exceeded,
                source="program",
            )
        )

    def use(
        self, resource: AbstractAsyncContextManager[object], *, kinds: Iterable[str] = EFFECT_KINDS
    ) -> None:
        """
        Open something when the worker starts, and close it when the worker stops.

        For what handlers need while they run: a session inbox, a process registry, a process
        runner. Resources are entered in the order in which they were given, before the first effect
        is taken, and left in the opposite order.

        Args:
            resource: What to open and to close.
            kinds: Only when the worker takes effects of one of these kinds.

        Raises:
            ConfigurationError: When the worker runs already, or a kind does not exist.
        """
        if self._is_running:
            raise ConfigurationError("the worker runs already; call use() before it starts")
        wanted = frozenset(kinds)
        unknown = sorted(wanted.difference(EFFECT_KINDS))
        if unknown:
            raise ConfigurationError(
                f"there is no effect kind {unknown[0]!r}; expected some of "
                f"{', '.join(EFFECT_KINDS)}"
            )
        self._resources.append((resource, wanted))
