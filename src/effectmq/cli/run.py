"""``effectmq run``: execute envelopes out of a file, and write what became of each."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, TypeAlias

from effectmq.broker.place import Place, first_said, unfolded
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
from effectmq.cli.terminal.progress import Progress
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
from effectmq.wiring import Client

__all__ = ["configure", "run"]

_DEFAULT_TIMEOUT_S = 60.0
_DEFAULT_CONCURRENCY = 64
Answer: TypeAlias = dict[str, object]
_Begun: TypeAlias = "asyncio.Queue[asyncio.Task[Answer] | ConfigurationError | None]"

#: Answers that may wait for an earlier line, so that the output is in input order.
_WINDOW = 16

_DESCRIPTION = """\
Read envelopes as JSON Lines (one JSON document a line), or pretty-printed one
behind the other (each from a line that is { to a line that is }), execute
them, and write one JSON object a line in the order of the input:

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
        commands, "run", "execute envelopes out of a file and write their outcomes", _DESCRIPTION
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
        help="effects under way at a time; default: 64",
    )
    parser.add_argument("--output", metavar="FILE", help="default: stdout")
    parser.add_argument(
        "--worker", metavar="module:app", help="a Worker to run in this process meanwhile"
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
        progress = stack.enter_context(Progress("effects", total, quiet=args.quiet))

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
        client: Where effects are submitted.
        timeout_s: For each effect, from its submission on.
        concurrency: Effects under way at a time.
        kinds: The only kinds that anybody here handles; ``None`` when that is not known.
    """

    client: Client
    timeout_s: float
    concurrency: int
    kinds: tuple[str, ...] | None
    free: asyncio.Semaphore = field(init=False)
    tasks: set[asyncio.Task[Answer]] = field(default_factory=set["asyncio.Task[Answer]"])

    async def execute(self, source: AsyncIterator[Line], write: Callable[[Answer], None]) -> None:
        """
        Write one answer for each line that is not blank, in the order of the lines.

        Raises:
            ConfigurationError: When the source cannot be read on; what came before is answered.
        """
        self.free = asyncio.Semaphore(self.concurrency)
        begun: _Begun = asyncio.Queue(self.concurrency * _WINDOW)
        reading = asyncio.get_running_loop().create_task(self._begin(source, begun))
        try:
            while (item := await begun.get()) is not None:
                if isinstance(item, ConfigurationError):
                    raise item
                write(await item)
        finally:
            left: list[asyncio.Task[Any]] = [reading, *self.tasks]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _begin(self, source: AsyncIterator[Line], begun: _Begun) -> None:
        try:
            async for line in source:
                if line.too_long or line.data.strip():
                    await self.free.acquire()
                    task = asyncio.get_running_loop().create_task(self._finish(line))
                    self.tasks.add(task)
                    task.add_done_callback(self.tasks.discard)
                    await begun.put(task)
        except ConfigurationError as problem:
            await begun.put(problem)
        await begun.put(None)

    async def _finish(self, line: Line) -> Answer:
        try:
            return await self._execute(line)
        finally:
            self.free.release()

    async def _execute(self, line: Line) -> Answer:
        failed: Answer = {"line": line.number}
        if line.too_long:
            return {**failed, "error": f"the line is longer than {MAX_LINE_BYTES} bytes"}
        try:
            envelope = from_tree(RuntimeEffectEnvelope, parse_json(line.data))
            self._check_kind(envelope)
            loop = asyncio.get_running_loop()
            end = loop.time() + self.timeout_s
            handle = await self.client.submit(envelope, timeout=self.timeout_s)
            failed |= {
                "effect_id": handle.effect_id,
                "replay_key": handle.replay_key,
                "hash": handle.hash,
            }
            left_s = max(0.0, end - loop.time())
            return (await handle.reply(left_s, given=self.timeout_s)).tree()
        except (MalformedError, InvalidEnvelopeError) as problem:
            return {**failed, "error": f"not a valid envelope: {describe(problem)}{hint(line)}"}
        except EffectmqError as problem:
            return {**failed, "error": describe(problem)}

    def _check_kind(self, envelope: RuntimeEffectEnvelope) -> None:
        kind = envelope.command.type
        if self.kinds is not None and kind not in self.kinds:
            raise ConfigurationError(
                f"nobody here carries out {kind} effects: on memory:// the workers run in this "
                f"process, and handle {', '.join(self.kinds)}. Name a worker that has a handler "
                "for it with --worker module:app, or a broker that has one with --broker"
            )


def _worker(args: argparse.Namespace) -> EffectWorker | None:
    place = place_of(args)
    if args.worker is not None:
        # At the broker of our client, whatever the module says.
        said = first_said({"broker": place.broker}, said_of(args, "place", "connection"))
        return load_worker(args.worker, first_said(said, unfolded(topology=place.topology)))
    return _small_worker(place) if is_memory(place.broker) else None


def _small_worker(place: Place) -> EffectWorker:
    """A worker with what is built in, for envelopes that need nothing else."""
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
