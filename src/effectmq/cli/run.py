"""``effectmq run``: execute the envelopes in a file, and write the outcome of each."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO, TypeAlias

from effectmq.broker.client.handle import Handle
from effectmq.broker.client.many.results import EffectResult
from effectmq.broker.place import Place, first_said, unfolded
from effectmq.broker.progress_line import ProgressLine
from effectmq.cli.arguments.options import (
    Commands,
    add_command,
    add_quiet_option,
    is_memory,
    positive,
)
from effectmq.cli.arguments.setting_options import add_setting_options, place_of, said_of
from effectmq.cli.program.loading import load_worker
from effectmq.cli.terminal.documents import count_documents, documents, hint
from effectmq.cli.terminal.lines import MAX_LINE_BYTES, Line, lines, opened
from effectmq.cli.terminal.output import json_line, note, stdout_bytes
from effectmq.cli.terminal.times import seconds
from effectmq.consumers.decisions.retry import NO_RETRY
from effectmq.consumers.tools.results.outputs import completed, failure
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectmqError,
    InvalidEnvelopeError,
    MalformedError,
)
from effectmq.protocol.text import describe
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall, RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from effectmq.wiring.client import Client

__all__ = ["configure", "run"]

_DEFAULT_TIMEOUT_S = 60.0
_DEFAULT_CONCURRENCY = 64
Answer: TypeAlias = dict[str, object]

#: Answers that may wait for an earlier line, so that the output is in input order.
_WINDOW = 16

_DESCRIPTION = """\
Read envelopes, execute them, and write one JSON object per line in the order
of the input. The input is JSON Lines (one JSON document per line), or
pretty-printed JSON (each document from a line { to a line }). The output:

  {"effect_id","replay_key","hash","attempt","replayed","result":{"Ok":outcome}}
  the same with "result":{"Err":{"code","message"}}, when it was not carried out
  {"line","error"}, when the line is no valid envelope or no answer came

Blank lines are skipped.

On memory://, the default, the workers run in this process: yours with
--worker, else a small one that can sleep and answers tool calls as
unavailable.

Exit code: 0 when every line has an Ok, 1 otherwise. A failure of a tool or a
model is an outcome, and an Ok."""


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(
        commands, "run", "execute the envelopes in a file and write their outcomes", _DESCRIPTION
    )
    parser.add_argument("file", metavar="FILE.jsonl", help="envelopes; - for stdin")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=_DEFAULT_TIMEOUT_S,
        metavar="S",
        help="how long to wait for each outcome, in seconds or as 5m; default: 60",
    )
    parser.add_argument(
        "--concurrency",
        type=positive,
        default=_DEFAULT_CONCURRENCY,
        metavar="N",
        help="effects in progress at a time; default: 64",
    )
    parser.add_argument("--output", metavar="FILE", help="write there; default: stdout")
    parser.add_argument(
        "--worker", metavar="module:app", help="a Worker that runs in this process meanwhile"
    )
    add_setting_options(parser, "place", "client", "connection")
    add_quiet_option(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Execute every line.

    Raises:
        ConfigurationError: When a file or the worker cannot be used.
        BrokerError: When the broker cannot be used.
    """
    tally: Counter[str] = Counter()
    worker = _worker(args)
    total = count_documents(args.file) if _shows_progress(args) else None
    async with AsyncExitStack() as stack:
        source = stack.enter_context(opened(args.file))
        output = stack.enter_context(_output(args))
        if worker is not None:
            await stack.enter_async_context(worker)
        client = Client(**said_of(args, "place", "client", "connection"))
        await stack.enter_async_context(client)
        runner = _Runner(client, args.timeout, args.concurrency, _known_kinds(args, worker))
        progress = stack.enter_context(ProgressLine("effects", total, quiet=args.quiet))

        def write(answer: Answer) -> None:
            tally[_verdict(answer)] += 1
            output.write(json_line(answer))
            if args.output is None:
                output.flush()
            progress.advance()

        await runner.execute(documents(lines(source)), write)
    note(_summary(tally), quiet=args.quiet)
    return 1 if tally["failed"] or tally["unanswered"] else 0


@dataclass(slots=True)
class _Runner:
    """
    Executes the envelopes of one file.

    Attributes:
        client: Submits the effects.
        timeout_s: Seconds for each effect, from its submission on.
        concurrency: Effects in progress at a time.
        kinds: The kinds that the workers here handle; ``None`` when that is not known.
    """

    client: Client
    timeout_s: float
    concurrency: int
    kinds: tuple[str, ...] | None

    async def execute(self, source: AsyncIterator[Line], write: Callable[[Answer], None]) -> None:
        """
        Write one answer for each line that is not blank, in the order of the lines.

        Raises:
            ConfigurationError: When the source cannot be read to its end; earlier lines are
                answered.
        """
        answers = _Answers(write, self.concurrency * _WINDOW)
        results = self.client.map(
            self._envelopes(source, answers),
            in_flight=self.concurrency,
            in_order=False,
            timeout=self.timeout_s,
        )
        async with aclosing(results):
            async for result in results:
                answers.give(result)

    async def _envelopes(
        self, source: AsyncIterator[Line], answers: _Answers
    ) -> AsyncIterator[RuntimeEffectEnvelope]:
        async for line in source:
            if line.too_long or line.data.strip():
                await answers.has_room()
                try:
                    envelope = self._read(line)
                except EffectmqError as problem:
                    answers.refuse(line.number, problem)
                else:
                    answers.expect(line.number)
                    yield envelope

    def _read(self, line: Line) -> RuntimeEffectEnvelope:
        if line.too_long:
            raise _RefusedLineError(f"the line is longer than {MAX_LINE_BYTES} bytes")
        try:
            envelope = from_tree(RuntimeEffectEnvelope, parse_json(line.data))
        except MalformedError as problem:
            raise _RefusedLineError(
                f"not a valid envelope: {describe(problem)}{hint(line)}"
            ) from None
        self._check_kind(envelope)
        return envelope

    def _check_kind(self, envelope: RuntimeEffectEnvelope) -> None:
        kind = envelope.command.type
        if self.kinds is not None and kind not in self.kinds:
            raise ConfigurationError(
                f"no worker here carries out {kind} effects: on memory:// workers run in this "
                f"process, and they handle {', '.join(self.kinds)}. Name a worker with a handler "
                "for it with --worker module:app, or a broker that has one with --broker"
            )


class _RefusedLineError(EffectmqError):
    """A line of the input that is no effect."""


class _Answers:
    """
    The answers, which are written in the order of the lines.

    Args:
        write: Writes one.
        most: How many may wait for that of an earlier line.
    """

    def __init__(self, write: Callable[[Answer], None], most: int) -> None:
        self._write = write
        self._most = most
        self._written = asyncio.Event()
        self._waiting = deque[Answer]()
        #: Those of effects under way, by the place of the effect among the others.
        self._expected = dict[int, Answer]()
        self._effects = 0

    async def has_room(self) -> None:
        """Wait until another line may be read."""
        while len(self._waiting) >= self._most:
            self._written.clear()
            await self._written.wait()

    def refuse(self, line: int, problem: EffectmqError) -> None:
        """The next line is answered with an error."""
        self._waiting.append({"line": line, "error": describe(problem)})
        self._write_ready()

    def expect(self, line: int) -> None:
        """The next line is an effect, the next of all effects."""
        answer: Answer = {"line": line}
        self._waiting.append(answer)
        self._expected[self._effects] = answer
        self._effects += 1

    def give(self, result: EffectResult) -> None:
        """What became of an effect."""
        answer = self._expected.pop(result.index)
        if result.reply is not None:
            answer.clear()
            answer |= result.reply.tree()
        else:
            answer |= _names(result.handle)
            answer["error"] = _problem(result)
        self._write_ready()

    def _write_ready(self) -> None:
        while self._waiting and len(self._waiting[0]) > 1:
            self._write(self._waiting.popleft())
        self._written.set()


def _names(handle: Handle | None) -> Answer:
    if handle is None:
        return {}
    return {
        "effect_id": handle.effect_id,
        "replay_key": handle.replay_key,
        "hash": handle.hash,
    }


def _problem(result: EffectResult) -> str:
    assert result.error is not None
    invalid = isinstance(result.error, MalformedError | InvalidEnvelopeError)
    return f"{'not a valid envelope: ' if invalid else ''}{describe(result.error)}"


def _worker(args: argparse.Namespace) -> EffectWorker | None:
    place = place_of(args)
    if args.worker is not None:
        # The worker uses the broker of the client, whatever its module names.
        said = first_said({"broker": place.broker}, said_of(args, "place", "connection"))
        return load_worker(args.worker, first_said(said, unfolded(topology=place.topology)))
    return _small_worker(place) if is_memory(place.broker) else None


def _small_worker(place: Place) -> EffectWorker:
    """A worker that sleeps and answers tool calls as unavailable."""
    app = EffectWorker(place=replace(place, journal=None, attachments=None, replay="execute"))

    @app.handler("tool_call", retry=NO_RETRY)
    async def no_tools(command: RuntimeEffectCommandToolCall) -> RuntimeEffectOutcomeToolCall:
        problem = (
            f"no tool {command.call.tool_name!r} is registered: this run has no worker of yours; "
            "name it with --worker module:app"
        )
        unavailable = failure("unavailable", "tool_unavailable", problem, source="runtime")
        return completed(command.call, unavailable, 0)

    return app


def _known_kinds(args: argparse.Namespace, worker: EffectWorker | None) -> tuple[str, ...] | None:
    return worker.kinds if worker is not None and is_memory(place_of(args).broker) else None


@contextmanager
def _output(args: argparse.Namespace) -> Generator[BinaryIO]:
    if args.output is None:
        yield stdout_bytes()
        return
    if args.file != "-" and os.path.realpath(args.file) == os.path.realpath(args.output):
        raise ConfigurationError(f"--output names {args.output}, which is the input; name another")
    with _created(args.output) as handle:
        yield handle


def _created(path: str) -> BinaryIO:
    try:
        return open(path, "wb")
    except OSError as problem:
        raise ConfigurationError(f"{path} cannot be written: {problem.strerror}") from None


def _shows_progress(args: argparse.Namespace) -> bool:
    return not args.quiet and sys.stderr.isatty() and os.path.isfile(args.file)


def _verdict(answer: Answer) -> str:
    result = answer.get("result")
    if not isinstance(result, dict):
        return "unanswered"
    return "failed" if "Err" in result else "ok"


def _summary(tally: Counter[str]) -> str:
    parts = [f"{tally['ok']} ok"]
    if tally["failed"]:
        parts.append(f"{tally['failed']} failed")
    if tally["unanswered"]:
        parts.append(f"{tally['unanswered']} without an answer")
    return f"effectmq: {tally.total()} effects: {', '.join(parts)}"
