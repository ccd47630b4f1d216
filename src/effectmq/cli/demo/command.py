"""
``effectmq demo``: effectmq in a few seconds, in this process, without a server.

Every line is printed after the event that it describes, with the real ids, hashes, times and
counters. Each scene is also checked, so that the exit code is meaningful.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.handle import Handle
from effectmq.broker.client.turns.turn import ToolCall, Turn
from effectmq.broker.dead_letters.content import read_content
from effectmq.broker.dead_letters.dead_letters import DeadLetters
from effectmq.broker.store.letters.facts import row_of
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.cli.arguments.options import Commands, add_command, add_full_option
from effectmq.cli.dead.choice import REASONS
from effectmq.cli.dead.view import letter_table, tally_line
from effectmq.cli.demo.stage import Stage
from effectmq.cli.demo.worker import RETRY_WAIT_MS, Attempt, demo_worker
from effectmq.cli.terminal.colours import wants_colours
from effectmq.cli.terminal.tables import Column, room_of, table
from effectmq.cli.terminal.texts import pretty
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.narrowing import members_of
from effectmq.protocol.encoding.serde.model import from_tree
from effectmq.protocol.encoding.serde.tagging import Ok
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.messages.dead_letter import DeadLetter
from effectmq.protocol.messages.reply import Reply
from effectmq.protocol.text import describe
from effectmq.protocol.topology import Names, TopologySettings
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommand,
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandLlmCall,
    RuntimeEffectCommandSleep,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.llm_request import LlmContentBlockText, LlmMessage, LlmRequestSpec
from effectmq.protocol.wire.outcome import (
    RuntimeEffectControllerError,
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeLlmCall,
    RuntimeEffectOutcomeToolCall,
)
from effectmq.protocol.wire.tools import ToolCallOutcomeSuccess

__all__ = ["configure", "run"]

#: For each outcome, and for the whole demo, in seconds.
_PATIENCE_S = 5.0
_LONGEST_S = 60.0

_ANSWERS = (
    Column("kind", least=9, priority=3),
    Column("effect", priority=4),
    Column("hash", least=12, priority=1),
    Column("ms", priority=0),
    Column("outcome", least=20, priority=2),
)

_SLEEP_MS = 300
_WRONG, _RIGHT = "price * quantiy - discount", "price * quantity - discount"

_DESCRIPTION = """\
Run a worker and a producer over a broker inside this process: effects of four
kinds, a retry that waits in a queue, one envelope submitted twice and run
once, and a dead letter that is mended and replayed. Takes a few seconds and
needs no server.

Exit code: 0 when everything that was to be shown happened, 1 otherwise."""


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(commands, "demo", "show effectmq at work, in this process", _DESCRIPTION)
    add_full_option(parser)
    # The demo reports its failures itself; a log of them would look like an error.
    parser.set_defaults(run=run, default_log_level="CRITICAL")


async def run(args: argparse.Namespace) -> int:
    """Run all scenes; returns 1 when a check failed."""
    started = time.monotonic()
    stage = Stage(wants_colours(args), room_of(args))
    # Its own name and delay levels: the environment does not apply here.
    broker = f"memory://demo-{secrets.token_hex(4)}"
    topology = TopologySettings(namespace="demo", delay_levels_ms=(_SLEEP_MS, RETRY_WAIT_MS))
    attempts: list[Attempt] = []
    try:
        with tempfile.TemporaryDirectory(prefix="effectmq-demo-") as folder:
            journal = f"sqlite:///{folder}/journal.db"
            worker = demo_worker(broker, topology, attempts, journal)
            async with (
                asyncio.timeout(_LONGEST_S),
                worker,
                EffectClient(broker, identity="agent", topology=topology) as client,
                EffectClient(broker, identity="other-agent", topology=topology) as other,
                open_transport(broker) as transport,
            ):
                await _Story(stage, worker, client, other, transport, attempts).tell()
    except TimeoutError:
        stage.expect(f"the demo ends within {_LONGEST_S:g} s", False)
    return stage.close(time.monotonic() - started)


@dataclass(slots=True)
class _Story:
    """The scenes, over one worker and two producers."""

    stage: Stage
    worker: EffectWorker
    client: EffectClient
    other: EffectClient
    transport: Transport
    attempts: list[Attempt]
    turn: Turn = field(init=False)
    letters: DeadLetters = field(init=False)
    answered: list[tuple[RuntimeEffectEnvelope, Reply]] = field(
        default_factory=list[tuple[RuntimeEffectEnvelope, Reply]]
    )

    def __post_init__(self) -> None:
        self.turn = self.client.turn("demo-session", "turn-1")
        self.letters = DeadLetters(self.transport, self.worker.topology)

    async def tell(self) -> None:
        """Run all scenes; a failing scene does not prevent the next one."""
        kinds = ", ".join(self.worker.kinds)
        self.stage.open(
            f"{self.client.broker}, a broker inside this process; worker {self.worker.name} "
            f"carries out {kinds} and writes a journal in a temporary folder"
        )
        scenes: tuple[Callable[[], Awaitable[None]], ...] = (
            self.four_kinds,
            self.retry,
            self.twice,
            self.poison,
            self.again,
            self.counters,
        )
        for scene in scenes:
            try:
                await scene()
            except EffectmqError as problem:
                self.stage.expect(describe(problem), False)

    # Scenes ------------------------------------------------------------------------------------

    async def four_kinds(self) -> None:
        """One effect of each kind, all at once."""
        self.stage.scene("Effects of four kinds, submitted together")
        question = LlmMessage(
            role="User",
            blocks=[LlmContentBlockText(text="Are there apples left?", cache_breakpoint=False)],
        )
        request = LlmRequestSpec(
            model="scripted",
            messages=[question],
            attachments=[],
            tools=[],
            tool_choice="None",
        )
        envelopes = [
            self.envelope(RuntimeEffectCommandLlmCall(request=request)),
            self.call("stock", "apples", "call-1"),
            self.envelope(RuntimeEffectCommandExecCode(code="price * quantity")),
            self.envelope(RuntimeEffectCommandSleep(duration_ms=_SLEEP_MS)),
        ]
        answers = await asyncio.gather(*(self.timed(envelope) for envelope in envelopes))
        rows = [
            (
                envelope.command.type,
                reply.effect_id,
                reply.hash[:12],
                round(took_s * 1_000),
                _said(reply),
            )
            for envelope, (reply, took_s) in zip(envelopes, answers, strict=True)
        ]
        self.stage.show(table(_ANSWERS, rows, self.stage.room))
        self.answered += [
            (envelope, reply) for envelope, (reply, _) in zip(envelopes, answers, strict=True)
        ]
        good = sum(
            not isinstance(reply.result, RuntimeEffectControllerError) for reply, _ in answers
        )
        self.stage.expect(f"{good} of {len(envelopes)} outcomes came back", good == len(envelopes))

    async def retry(self) -> None:
        """A tool that fails once, and waits in a queue for its second attempt."""
        self.stage.scene("A tool that fails at first")
        delayed = self.worker.counters["delayed"]
        envelope = self.call("supplier_price", "apples", "call-2")
        handle = await self.client.submit(envelope)
        queue = Names(self.worker.topology.namespace).delay(RETRY_WAIT_MS)
        waiting = await self.until_ready(queue)
        if not waiting:
            self.stage.expect(f"the second attempt waits in {queue}", False)
            return
        first = self.attempts_of(handle)[0]
        self.stage.say(
            f"effect {handle.effect_id}: attempt {first.number} failed; {waiting} message waits in "
            f"the queue {queue}"
        )
        reply = await handle.reply(_PATIENCE_S)
        self.answered.append((envelope, reply))
        last = self.attempts_of(handle)[-1]
        pause_s = last.at - first.at
        self.stage.say(f"attempt {reply.attempt}, {pause_s:.2f} s later: {_said(reply)}")
        hops = self.worker.counters["delayed"] - delayed
        self.stage.expect(
            f"the retry went through a delay queue {hops} time and took at least "
            f"{RETRY_WAIT_MS} ms",
            waiting == hops == 1 and reply.attempt == 2 and pause_s * 1_000 >= RETRY_WAIT_MS,
        )

    async def twice(self) -> None:
        """One envelope from two producers at once."""
        self.stage.scene("One envelope, submitted twice at once by two producers")
        envelope = self.call("stock", "pears", "call-3")
        joined = self.worker.counters["joined"]
        handles = await asyncio.gather(self.client.submit(envelope), self.other.submit(envelope))
        replies = await asyncio.gather(*(handle.reply(_PATIENCE_S) for handle in handles))
        for producer, reply in zip((self.client, self.other), replies, strict=True):
            self.stage.say(f"{producer.identity}: hash {reply.hash[:12]}: {_said(reply)}")
        self.answered.append((envelope, replies[0]))
        runs = len(self.attempts_of(handles[0]))
        joins = self.worker.counters["joined"] - joined
        self.stage.say(f"the tool ran {runs} time; {joins} delivery joined the one that ran")
        bodies = set(map(_body, replies))
        self.stage.expect(
            f"{len(replies)} submissions, {runs} run, {len(bodies)} outcome, byte for byte",
            runs == joins == len(bodies) == 1,
        )

    async def poison(self) -> None:
        """Code that cannot run: parked, inspected, corrected, replayed."""
        self.stage.scene("An effect that cannot be carried out is parked, with its reason")
        wrong = self.envelope(RuntimeEffectCommandExecCode(code=_WRONG))
        handle = await self.client.submit(wrong)
        refused = await handle.reply(_PATIENCE_S)
        self.stage.say(f"the producer was told at once: {_said(refused)}")
        self.stage.expect("it was refused with an error, not silently", _refused(refused))
        letter = await self.look(handle)
        if letter is not None:
            await self.mend(letter, handle)

    async def look(self, handle: Handle) -> DeadLetter | None:
        """``dead list`` and ``dead show``."""
        self.stage.scene("Looking at the dead letters, which takes nothing away")
        async with self.letters.browse() as found:
            letters = [letter async for letter in found]
        now_ms = round(time.time() * 1_000)
        self.stage.show(letter_table(map(row_of, letters), now_ms, self.stage.room))
        mine = [letter for letter in letters if letter.hash == handle.hash]
        self.stage.expect(
            f"{len(letters)} dead letter, for effect {handle.effect_id}",
            len(letters) == len(mine) == 1,
        )
        if not mine:
            return None
        letter = await self.letters.find(mine[0].id)
        self.stage.say(f"letter {letter.id} is {letter.reason}: {REASONS[letter.reason]}")
        self.stage.say(f"error: {letter.code}: {letter.detail}")
        return letter

    async def mend(self, letter: DeadLetter, handle: Handle) -> None:
        """``dead replay --edit``."""
        self.stage.scene("Mending it and replaying it")
        document = pretty(read_content(letter).tree).replace(_WRONG, _RIGHT)
        envelope = from_tree(RuntimeEffectEnvelope, parse_json(document))
        expected = self.client.attach(envelope)
        edit = await self.letters.replay_edited(letter.id, document)
        self.stage.say(f"code {_WRONG!r} -> {_RIGHT!r}")
        self.stage.say(f"hash {edit.edited_from[:12]} -> {edit.request.hash[:12]}")
        reply = await expected.reply(_PATIENCE_S)
        self.answered.append((envelope, reply))
        self.stage.say(f"outcome of effect {reply.effect_id}: {_said(reply)}")
        self.stage.expect(
            "the same effect and replay key, another hash, and an outcome",
            reply.effect_id == handle.effect_id
            and reply.replay_key == handle.replay_key
            and handle.hash == edit.edited_from != edit.request.hash == reply.hash
            and isinstance(reply.result, RuntimeEffectOutcomeExecCode),
        )
        async with self.letters.browse() as found:
            left = Counter([letter.reason async for letter in found])
        self.stage.expect(f"{tally_line(left, found.seen)} left", not left)

    async def again(self) -> None:
        """The whole turn once more, answered from the journal."""
        self.stage.scene("The same turn run again: every effect is answered from the journal")
        runs = len(self.attempts)
        started = time.monotonic()
        async with EffectClient(
            "memory://nobody",
            topology=self.worker.topology,
            journal=self.worker.journal,
            replay="strict",
        ) as (replayer):
            handles = [await replayer.submit(envelope) for envelope, _ in self.answered]
            replies = [await handle.reply(_PATIENCE_S) for handle in handles]
        took_ms = (time.monotonic() - started) * 1_000
        same = sum(
            now.replayed and _body(now) == _body(before)
            for now, (_, before) in zip(replies, self.answered, strict=True)
        )
        self.stage.say(
            f"{len(replies)} effects in {took_ms:.0f} ms, without a broker and without a worker"
        )
        self.stage.expect(
            f"{same} of {len(self.answered)} outcomes are the recorded ones, byte for byte; "
            f"{len(self.attempts) - runs} handlers ran",
            same == len(self.answered) > 0 and len(self.attempts) == runs,
        )

    async def counters(self) -> None:
        """The counters of the run."""
        self.stage.scene("What was counted")
        counters = self.worker.counters
        names = ("delivered", "started", "retried", "delayed", "joined", "recorded", "parked")
        submitted = self.client.counters["submitted"] + self.other.counters["submitted"]
        self.stage.say(
            ", ".join([f"submitted {submitted}", *(f"{name} {counters[name]}" for name in names)])
        )
        self.stage.expect(
            f"{len(self.attempts)} handler runs were seen by the handlers themselves",
            counters["started"] == len(self.attempts),
        )

    # What the scenes share ---------------------------------------------------------------------

    def envelope(self, command: RuntimeEffectCommand) -> RuntimeEffectEnvelope:
        """The next effect of the turn."""
        return RuntimeEffectEnvelope(invocation=self.turn.invocation(command.type), command=command)

    def call(self, tool: str, product: str, call_id: str) -> RuntimeEffectEnvelope:
        """The next effect of the turn, a call of a tool."""
        (envelope,) = self.turn.tool_envelopes([ToolCall(tool, {"product": product}, call_id)])
        return envelope

    async def timed(self, envelope: RuntimeEffectEnvelope) -> tuple[Reply, float]:
        """Submit, wait, and measure."""
        started = time.monotonic()
        handle = await self.client.submit(envelope)
        return await handle.reply(_PATIENCE_S), time.monotonic() - started

    async def until_ready(self, queue: str) -> int:
        """Wait until a queue has messages; returns how many."""
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            stats = await self.transport.stats(queue)
            if stats is not None and stats.ready:
                return stats.ready
            await asyncio.sleep(0.01)
        return 0

    def attempts_of(self, handle: Handle) -> list[Attempt]:
        """The attempts at one effect, as its handler saw them."""
        return [attempt for attempt in self.attempts if attempt.effect_id == handle.effect_id]


def _refused(reply: Reply) -> bool:
    return isinstance(reply.result, RuntimeEffectControllerError)


def _body(reply: Reply) -> bytes:
    """The answer in its recorded form, to compare byte for byte."""
    return canonical_json(members_of(reply.tree()["result"]))


def _said(reply: Reply) -> str:
    """The essential part of an answer."""
    match reply.result:
        case RuntimeEffectControllerError() as error:
            return f"{error.code}: {error.message}"
        case RuntimeEffectOutcomeToolCall(result=call):
            outcome = call.output.outcome
            if isinstance(outcome, ToolCallOutcomeSuccess):
                return canonical_json(outcome.payload).decode()
            return outcome.status
        case RuntimeEffectOutcomeLlmCall(result=Ok(ok=answer)):
            return f"{answer.full_text} ({answer.usage.output_tokens} tokens)"
        case RuntimeEffectOutcomeExecCode(result=Ok(ok=response)):
            return ", ".join(response.observations)
        case outcome:
            return f"the {outcome.type} is over"
