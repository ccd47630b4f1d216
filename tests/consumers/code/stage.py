"""Blocks to run, an engine's host that writes down what it is asked, and a recorder of calls."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Any

from effectmq.broker.client.client import EffectClient
from effectmq.consumers.code.data.values import CodeError
from effectmq.consumers.code.engine import Later
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.serde.model import Err, Ok, to_tree
from effectmq.protocol.errors import EffectFailedError
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall, RuntimeEffectEnvelope
from effectmq.protocol.wire.execution import ExecResponse
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcome,
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeSleep,
)
from effectmq.protocol.wire.tools import ToolCallOutput
from tests.consumers.stage import PATIENCE_S, code

__all__ = ["FakeHost", "Recorder", "ran", "refused", "run_block"]


class FakeHost:
    """Answers every call with its arguments; does not sleep, and refuses more than 10 s."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self.asked: list[tuple[str, tuple[object, ...], dict[str, object]]] = []
        self.slept_s: list[float] = []
        self.answers: dict[str, object] = {}

    def knows(self, name: str) -> bool:
        return name in self._names

    def names(self) -> tuple[str, ...]:
        return self._names

    async def call(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        self.asked.append((name, args, kwargs))
        answer = self.answers.get(name, list(args))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def begin(
        self, name: str, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Awaitable[object]:
        self.asked.append((name, args, kwargs))
        return Later(partial(self._later, name, args))

    async def _later(self, name: str, args: tuple[object, ...]) -> object:
        answer = self.answers.get(name, list(args))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, duration_s: float) -> None:
        self.slept_s.append(duration_s)
        if duration_s > 10:
            raise CodeError("ValueError", "too long")

    async def now_ms(self) -> int:
        return 1_600_000_000_500


class Recorder:
    """
    Carries out calls as a client with a journal does: once each, then from the record.

    Attributes:
        asked: The canonical form of each envelope, in the order in which they came.
        carried_out: Replay keys of what was not in the record.
        outputs: What tools give, by name; the arguments by default.
    """

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.carried_out: list[str] = []
        self.outputs: dict[str, object] = {}
        self._recorded: dict[str, RuntimeEffectOutcome] = {}

    async def execute(self, envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
        self.asked.append(canonical_json(to_tree(envelope)))
        replay = envelope.invocation.replay
        assert replay is not None
        if replay.key not in self._recorded:
            self.carried_out.append(replay.key)
            self._recorded[replay.key] = self._outcome(envelope)
        return self._recorded[replay.key]

    def _outcome(self, envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
        from effectmq.consumers.tools.results.outputs import completed, output_from

        command = envelope.command
        if not isinstance(command, RuntimeEffectCommandToolCall):
            return RuntimeEffectOutcomeSleep()
        given: Any = self.outputs.get(command.call.tool_name, command.call.args)
        if isinstance(given, EffectFailedError):
            raise given
        output = given if isinstance(given, ToolCallOutput) else output_from(given)
        return completed(command.call, output, 1)


def ran(outcome: RuntimeEffectOutcome) -> ExecResponse:
    """The response of a block that was run."""
    assert isinstance(outcome, RuntimeEffectOutcomeExecCode)
    assert isinstance(outcome.result, Ok), outcome
    return outcome.result.ok


def refused(outcome: RuntimeEffectOutcome) -> str:
    """Why a block was not run."""
    assert isinstance(outcome, RuntimeEffectOutcomeExecCode)
    assert isinstance(outcome.result, Err), outcome
    return outcome.result.err


async def run_block(client: EffectClient, text: str, effect_id: str = "1") -> ExecResponse:
    """Run a block through the broker."""
    return ran(await client.execute(code(text, effect_id), timeout=PATIENCE_S))
