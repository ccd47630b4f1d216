"""
The effects of a turn.

A turn counts its effects from 1 in the order in which its methods are *called*, which is the same
in a second run unless several tasks call; docs/replay-keys.md has what to do then.
"""

from __future__ import annotations

from typing import Unpack, overload

from effectmq.broker.client.turns.executing import Running, execute_as
from effectmq.broker.client.turns.options import (
    CallOptions,
    Execute,
    StreamOptions,
    WaitOptions,
    check_options,
)
from effectmq.broker.client.turns.tool_calls.batch import (
    ToolCall,
)
from effectmq.broker.client.turns.tools import Calls, ToolCalls
from effectmq.protocol.errors import (
    ConfigurationError,
)
from effectmq.protocol.numbers import one_time
from effectmq.protocol.text import printable
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandCheckpoint,
    RuntimeEffectCommandSleep,
    RuntimeEffectCommandSyncExecutionSurface,
)
from effectmq.protocol.wire.execution import CheckpointKind
from effectmq.protocol.wire.invocation import (
    CausalRef,
)
from effectmq.protocol.wire.llm_request import LlmRequestSpec
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcomeCheckpoint,
    RuntimeEffectOutcomeDirect,
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeLlmCall,
    RuntimeEffectOutcomeSleep,
    RuntimeEffectOutcomeSyncExecutionSurface,
)

__all__ = ["Calls", "Execute", "ToolCall", "Turn"]


class Turn(ToolCalls):
    """
    The effects of one turn; made by ``Client.turn``.

    Its methods are not coroutine functions but return coroutines: the call takes the number.
    """

    def branch(self, name: str) -> Turn:
        """
        A turn beside this one, for a task that takes several steps while others take theirs.

        It counts its own effects, so that they do not depend on what the other tasks do. Its id is
        that of this turn, with a slash and the name.

        Args:
            name: The same in a second run, and another one for each task: what it works on.

        Raises:
            ConfigurationError: When there is such a branch already, or that is no name.
        """
        _check_branch(name)
        turn_id = f"{self.turn_id}/{name}"
        if turn_id in self._branches:
            raise ConfigurationError(
                f"the turn has a branch {printable(name, 100)!r} already, and both would count "
                "from 1; give each task a name of its own"
            )
        self._branches.add(turn_id)
        made = Turn(
            self._execute,
            self.session_id,
            turn_id,
            self.turn_index,
            self.protocol_iteration,
            stream=self._open_stream,
        )
        made._branches = self._branches
        return made

    def llm_call(
        self,
        request: LlmRequestSpec,
        *,
        number: int | None = None,
        **options: Unpack[StreamOptions],
    ) -> Running[RuntimeEffectOutcomeLlmCall]:
        """Ask the turn's model; with ``on_chunk`` its text arrives while it answers."""
        check_options("llm_call", options, StreamOptions)
        envelope = self.llm_envelope(request, number=number)
        return execute_as(self._execute, RuntimeEffectOutcomeLlmCall, envelope, options)

    def exec_code(
        self, code: str, *, number: int | None = None, **options: Unpack[StreamOptions]
    ) -> Running[RuntimeEffectOutcomeExecCode]:
        """Run a block of code; with ``on_chunk`` its printed text arrives while it runs."""
        check_options("exec_code", options, StreamOptions)
        envelope = self.code_envelope(code, number=number)
        return execute_as(self._execute, RuntimeEffectOutcomeExecCode, envelope, options)

    def checkpoint(
        self,
        checkpoint: CheckpointKind,
        *,
        number: int | None = None,
        **options: Unpack[CallOptions],
    ) -> Running[RuntimeEffectOutcomeCheckpoint]:
        """Take what has arrived for the session."""
        check_options("checkpoint", options, CallOptions)
        command = RuntimeEffectCommandCheckpoint(checkpoint=checkpoint)
        envelope = self.envelope(command, number=number)
        return execute_as(self._execute, RuntimeEffectOutcomeCheckpoint, envelope, options)

    def sync_execution_surface(
        self,
        *,
        update_machine_config: bool,
        number: int | None = None,
        **options: Unpack[CallOptions],
    ) -> Running[RuntimeEffectOutcomeSyncExecutionSurface]:
        """Ask for the present system prompt and tools."""
        check_options("sync_execution_surface", options, CallOptions)
        command = RuntimeEffectCommandSyncExecutionSurface(
            update_machine_config=update_machine_config
        )
        envelope = self.envelope(command, number=number)
        expected = RuntimeEffectOutcomeSyncExecutionSurface
        return execute_as(self._execute, expected, envelope, options)

    @overload
    def sleep(
        self, *, duration_s: float, number: int | None = None, **options: Unpack[WaitOptions]
    ) -> Running[RuntimeEffectOutcomeSleep]: ...
    @overload
    def sleep(
        self, duration_ms: int, *, number: int | None = None, **options: Unpack[WaitOptions]
    ) -> Running[RuntimeEffectOutcomeSleep]: ...
    def sleep(
        self,
        duration_ms: int | None = None,
        *,
        duration_s: float | None = None,
        number: int | None = None,
        **options: Unpack[WaitOptions],
    ) -> Running[RuntimeEffectOutcomeSleep]:
        """
        Wait; no worker is held meanwhile: ``await turn.sleep(duration_s=5)``.

        Args:
            duration_s: For how long, in seconds; rounded to whole milliseconds.
            duration_ms: The same in milliseconds, as is a number without a name; deprecated.
            number: A number of your own instead of the turn's next one.
            options: ``timeout`` and ``deadline_s``: see ``WaitOptions``.

        Raises:
            ConfigurationError: When that is no time, or a longer one than 100 years.
            TypeError: When no time is given, or two are.
        """
        check_options("sleep", options, WaitOptions)
        wait_ms = one_time("turn.sleep", "duration_s", duration_s, duration_ms)
        command = RuntimeEffectCommandSleep(duration_ms=wait_ms)
        envelope = self.envelope(command, number=number)
        return execute_as(self._execute, RuntimeEffectOutcomeSleep, envelope, options)

    async def direct(
        self,
        request: LlmRequestSpec,
        *,
        usage_source: str,
        replay_key: str | None = None,
        cause: CausalRef | None = None,
        **options: Unpack[StreamOptions],
    ) -> RuntimeEffectOutcomeDirect:
        """
        Ask a model outside of the turn's own conversation.

        Args:
            request: The request. Without a ``replay_key`` its content is its identity: two equal
                requests with the same source and cause are one effect.
            usage_source: The name under which its tokens are counted.
            replay_key: Distinguishes two equal requests.
            cause: The cause.
            options: ``timeout``, ``deadline_s``, ``lane``, ``on_chunk``, ``on_progress``: see
                ``StreamOptions``.

        Raises:
            MalformedError: When it is not a request.
        """
        check_options("direct", options, StreamOptions)
        envelope = self.direct_envelope(
            request, usage_source=usage_source, replay_key=replay_key, cause=cause
        )
        return await execute_as(self._execute, RuntimeEffectOutcomeDirect, envelope, options)


def _check_branch(name: object) -> None:
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(
            f"a branch is named {printable(repr(name), 60)}; expected text that is not empty"
        )
