"""``Worker`` as users meet it, with what its kinds need wired together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from effectmq.broker.place import Place, Said, refuse_unknown, settings_from
from effectmq.broker.tracing import Tracing
from effectmq.consumers.decisions.retry import DEFAULT_RETRY, RetryPolicy
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError
from effectmq.settings.environment import variables
from effectmq.settings.resolution import resolved_for_part, resolved_for_worker
from effectmq.wiring.tracing import tracing_of

if TYPE_CHECKING:
    from effectmq.consumers.code.handler import CodeHandler
    from effectmq.consumers.code.settings import CodeArguments, CodeSettings
    from effectmq.consumers.llm import AttachmentSource
    from effectmq.consumers.processes import (
        ProcessRunnerSettings,
        Program,
        RunTool,
    )
    from effectmq.consumers.processes.settings import ProcessArguments
    from effectmq.consumers.sessions import CheckpointHook, PromptProvider
    from effectmq.parts import Parts, ProcessParts, SessionParts

__all__ = ["Worker"]


class Worker(EffectWorker):
    """
    A worker: carries out effects. Register tools and handlers, then ``await run()`` or use the
    command line.

    Arguments that are not given come from the environment, for instance ``EFFECTMQ_CONCURRENCY``;
    options of ``effectmq worker`` override both. docs/settings.md has every argument with its
    option and its variable.

    Args:
        broker: ``amqp://…``, or ``memory://…`` by default. Several of a cluster in a list, or
            separated by commas.
        place: Broker, namespace, journal, store and connection together.
        settings: Concurrency, limits and times together; it sets all of them.
        topology: Namespace, delay levels and limits together.
        transport: Timeouts and limits of the connection together.
        arguments: ``concurrency``, ``time_limit_s``, ``max_deaths``, ``name``, ``namespace``,
            ``journal`` (``none`` for none; by default it is in memory when the broker is, else a
            file of this user and namespace, shown at the start), ``attachments``, ``replay`` and
            more.

    Raises:
        ConfigurationError: When an argument or a variable cannot be used.
        MissingExtraError: When the attachment store needs a package that is not installed.
    """

    @staticmethod
    def _resolve(arguments: Said) -> Said:
        return resolved_for_worker(arguments)

    @staticmethod
    def _tracing_of(place: Place) -> Tracing | None:
        return tracing_of(place)

    def _completed(self) -> None:
        if self.http:
            from effectmq.monitoring.server import HttpServer

            # First of all, so that probes are answered while it starts.
            self.use(HttpServer(self, self.http))

    def models(self, table: Mapping[str, Any], attachments: AttachmentSource | None = None) -> None:
        """
        Let language models answer ``llm_call`` and ``direct`` effects.

        Args:
            table: Rows of plain data by the names that requests use, see ``docs/models.md``; API
                keys are read from the variables that the rows name.
            attachments: Loads the bytes of attachments; the worker's own store by default.

        Raises:
            MissingExtraError: When a model needs the extra ``llm`` and it is not installed.
            ConfigurationError: When a row cannot be used, its key is missing, or one of the kinds
                has a handler already.
        """
        from effectmq.consumers.llm import llm_handlers, read_models

        self._refuse_taken("models", "llm_call", "direct")
        store = self.attachments if attachments is None else attachments
        llm_call, direct = llm_handlers(read_models(table), store, variables=variables())
        self.add(llm_call)
        self.add(direct)
        self.use(llm_call.calls)

    def code(
        self,
        settings: CodeSettings | None = None,
        *,
        tools_of: Iterable[EffectWorker] = (),
        retry: RetryPolicy = DEFAULT_RETRY,
        **arguments: Unpack[CodeArguments],
    ) -> CodeHandler:
        """
        Run ``exec_code`` effects: blocks of Python, which may call tools.

        Variables are kept in the journal's database. A call of a tool is an effect, which any
        worker with the tool carries out.

        Args:
            settings: All limits together.
            tools_of: Other workers whose tools blocks may call; they need not run here. The tools
                of their MCP servers are not included.
            retry: What to do with an attempt that failed.
            arguments: ``backend``, ``time_limit_s``, ``memory_bytes`` and the other fields of
                ``CodeSettings``; those that are not given come from options and variables, see
                docs/settings.md.

        Returns:
            The handler; its ``sessions`` can forget one.

        Raises:
            ConfigurationError: When ``exec_code`` has a handler already, a limit cannot be used, or
                the worker runs already.
            MissingExtraError: When Monty is the backend and the extra ``code`` is not installed.
        """
        # The settings come with the package of the interpreter, which not every worker needs.
        from effectmq.consumers.code.settings import CodeArguments, CodeSettings

        self._refuse_taken("code", "exec_code")
        refuse_unknown("Worker.code", arguments, CodeArguments.__optional_keys__)
        said = resolved_for_part("code", settings, arguments)
        others = tuple(tools_of)
        handler = self.parts.code_handler(settings_from(CodeSettings, said), others, retry)
        self.parts.open_for(("exec_code",), "calls")
        self.parts.know_tools_of(others)
        self.add(handler)
        return handler

    def processes(
        self,
        settings: ProcessRunnerSettings | None = None,
        *,
        session_turn: Program | None = None,
        lashlang_process: Program | None = None,
        run_tool: RunTool | None = None,
        tools_use_registry: bool = False,
        **arguments: Unpack[ProcessArguments],
    ) -> ProcessParts:
        """
        Answer ``process`` effects, and run background processes.

        Processes are kept in the journal's database, and their wakes go into the inbox of their
        session there. With ``replay="strict"`` nothing is run.

        Args:
            settings: Times and limits of the runner together.
            session_turn: Runs ``session_turn`` processes.
            lashlang_process: Runs ``lashlang_process`` processes.
            run_tool: Runs ``tool_call`` processes; as effects for other workers by default.
            tools_use_registry: Whether the worker's tools use processes, so that ``tool_call``
                opens the registry, too.
            arguments: ``concurrency``, ``lease_s`` and the other fields of
                ``ProcessRunnerSettings``; those that are not given come from options and variables,
                see docs/settings.md.

        Returns:
            Registry and runner, and ``run_tool`` for programs.

        Raises:
            ConfigurationError: When ``process`` has a handler already, a setting cannot be used, or
                the worker runs already.
        """
        # Not at the top: most workers have no processes.
        from effectmq.consumers.processes import ProcessHandler, ProcessRunner
        from effectmq.consumers.processes.settings import ProcessArguments, ProcessRunnerSettings
        from effectmq.parts import ProcessParts

        self._refuse_taken("processes", "process")
        refuse_unknown("Worker.processes", arguments, ProcessArguments.__optional_keys__)
        said = resolved_for_part("process", settings, arguments)
        runner = ProcessRunner(
            self.parts.registry,
            run_tool=run_tool or self.parts.run_tool,
            session_turn=session_turn,
            lashlang_process=lashlang_process,
            settings=settings_from(ProcessRunnerSettings, said),
        )
        # Hooks of checkpoints may use processes.
        looking = ("checkpoint", "tool_call") if tools_use_registry else ("checkpoint",)
        self.parts.open_for(("process", *looking), "inbox", "registry")
        self.parts.open_for(("process",), "calls")
        if self.replay != "strict":
            # A worker that only replays runs nothing; another worker with a runner runs the
            # processes.
            self.use(runner, kinds=("process",))
        self.add(ProcessHandler(self.parts.registry, poke=runner.poke))
        return ProcessParts(self.parts.registry, runner, self.parts)

    def sessions(
        self,
        prompt: PromptProvider | str = "",
        *,
        hooks: Iterable[CheckpointHook] = (),
        tools_of: Iterable[EffectWorker] = (),
        tools_use_inbox: bool = False,
    ) -> SessionParts:
        """
        Answer ``checkpoint`` and ``sync_execution_surface`` effects.

        Checkpoints deliver what has arrived meanwhile; surfaces have the prompt and the tools. The
        inbox is kept in the journal's database.

        Args:
            prompt: The system prompt of surfaces, or a function that returns it.
            hooks: Functions that add to checkpoints after the inbox, in this order.
            tools_of: Other workers whose tools a model is told of.
            tools_use_inbox: Whether the worker's tools leave messages, so that ``tool_call`` opens
                the inbox, too.

        Returns:
            The inbox, to leave messages in it, and ``hook``, a decorator that adds one.

        Raises:
            ConfigurationError: When one of the kinds has a handler already, or the worker runs
                already.
        """
        from effectmq.consumers.sessions import CheckpointHandler, SurfaceHandler
        from effectmq.parts import SessionParts

        self._refuse_taken("sessions", "checkpoint", "sync_execution_surface")
        others = tuple(tools_of)
        using = ("checkpoint", "tool_call") if tools_use_inbox else ("checkpoint",)
        self.parts.open_for(using, "inbox")
        checkpoints = CheckpointHandler(self.parts.inbox, tuple(hooks))
        self.add(checkpoints)
        self.add(SurfaceHandler(lambda: self.parts.tools(others), prompt))
        return SessionParts(self.parts.inbox, checkpoints)

    @cached_property
    def parts(self) -> Parts:
        """The parts that its kinds share: the journal's database, inbox, registry, client."""
        from effectmq.parts import Parts

        return Parts(self)

    def _refuse_taken(self, method: str, *kinds: str) -> None:
        """Refuse before anything is registered, so that the worker stays as it was."""
        taken = [kind for kind in kinds if kind in self.kinds]
        if taken:
            raise ConfigurationError(
                f"{' and '.join(taken)} effects have a handler already; call {method}() once, or "
                f"register a handler of your own for {' and '.join(kinds)}, not both"
            )
