"""
What became of everything, in the words of Jepsen's reports.

================  ==============================================================================
attempted         effects that somebody tried to submit
acknowledged      of those, ``submit`` returned
ok                of those attempted, their caller has the outcome
told              of those attempted, their caller has a controller error instead
parked            stand among the dead letters, with a reason
lost              acknowledged, and neither answered nor parked
unexpected        answered or parked, and never attempted; poison is meant to be parked
recovered         never acknowledged, and answered all the same
duplicated        answers beyond the first of an effect
conflicting       effects of which two answers differ
hanging           calls that reached their timeout, or outlived it by more than a second
bodies            executions begun, and how many of them were not the first
journal           what the journal says and ought not to; see ``audit``
hostile           who was parked and ought not to be, or the other way round; see ``hostile``
================  ==============================================================================
"""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from signal import SIGTERM

from effectmq import TransportSettings
from effectmq.broker.dead_letters.dead_letters import DeadLetters
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.messages.dead_letter import DeadLetter
from effectmq.protocol.messages.reply import Reply, read_replies
from effectmq.protocol.topology import Names, TopologySettings
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError
from tests.scenarios.audit import audit
from tests.scenarios.effects import digest_of
from tests.scenarios.fleet import Fleet
from tests.waiting import eventually

__all__ = [
    "Report",
    "check",
    "conclude",
    "dead_letters",
    "judge",
    "received",
    "settle_queues",
    "waiting",
]


@dataclass
class Report:
    """The result of one scenario; ``problems`` says what a sound system would not show."""

    attempted: int = 0
    acknowledged: int = 0
    ok: int = 0
    told: Counter[str] = field(default_factory=Counter[str])
    parked: Counter[str] = field(default_factory=Counter[str])
    lost: list[str] = field(default_factory=list[str])
    unexpected: list[str] = field(default_factory=list[str])
    recovered: int = 0
    duplicated: int = 0
    conflicting: list[str] = field(default_factory=list[str])
    hanging: list[str] = field(default_factory=list[str])
    unsubmitted: list[str] = field(default_factory=list[str])
    resubmissions: int = 0
    asked_again: int = 0
    bodies: int = 0
    extra_bodies: int = 0
    bodiless: list[str] = field(default_factory=list[str])
    left: dict[str, int] = field(default_factory=dict[str, int])
    journal: list[str] = field(default_factory=list[str])
    hostile: list[str] = field(default_factory=list[str])
    #: For each effect among the dead letters, the reasons that are given.
    letters: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    server: str = ""
    about: dict[str, object] = field(default_factory=dict[str, object])

    def problems(self) -> list[str]:
        """What must not be; empty when all is well."""
        named = {
            "lost": self.lost,
            "unexpected": self.unexpected,
            "conflicting": self.conflicting,
            "hanging": self.hanging,
            "never submitted": self.unsubmitted,
            "answered without a body": self.bodiless,
        }
        found = [f"{len(ids)} {what}: {', '.join(ids[:5])}" for what, ids in named.items() if ids]
        found += [f"{count} left in {queue}" for queue, count in self.left.items()]
        return found + self.journal + self.hostile

    def __str__(self) -> str:
        """The lines to print."""
        share = 100 * self.extra_bodies / self.attempted if self.attempted else 0.0
        lines = [
            f"attempted {self.attempted}, acknowledged {self.acknowledged}, ok {self.ok}, "
            f"told {dict(self.told)}, parked {dict(self.parked)}",
            f"lost {len(self.lost)}, unexpected {len(self.unexpected)}, conflicting "
            f"{len(self.conflicting)}, hanging {len(self.hanging)}, left in queues "
            f"{sum(self.left.values())}",
            f"duplicated {self.duplicated}, recovered {self.recovered}, submitted again "
            f"{self.resubmissions}, asked again after a restart {self.asked_again}",
            f"bodies {self.bodies}, of which {self.extra_bodies} ran again ({share:.2f} %)",
            f"{self.server}, Python {platform.python_version()}, "
            + ", ".join(f"{name} {value}" for name, value in self.about.items()),
        ]
        return "\n".join([*lines, *(f"PROBLEM {problem}" for problem in self.problems())])


async def conclude(fleet: Fleet, *identities: str) -> Report:
    """
    Let the workers finish what still waits, such as copies, stop them, and judge.

    Args:
        fleet: Its producers have ended.
        identities: Theirs.
    """
    for again in (True, True, False):
        await settle_queues(fleet)
        workers = fleet.live_workers
        for worker in workers:
            worker.send(SIGTERM)
        for worker in workers:
            await worker.ended()
        report = await check(fleet, *identities)
        if not (report.left and again):
            break
        # Something was on its way between two queues, where nobody can see it.
        await fleet.ready(fleet.worker())
    return report


async def check(fleet: Fleet, *identities: str) -> Report:
    """
    Judge what happened, once workers and producers have stopped: what they hold cannot be seen.

    Args:
        fleet: With its records and its ledger.
        identities: The producers; copies of answers that still wait for them are counted too.
    """
    report = Report()
    async with open_transport(fleet.broker, TransportSettings(name="checker")) as transport:
        report.server = transport.server
        letters = await dead_letters(fleet, transport)
        answers = received(fleet)
        for identity in identities:
            for reply in await _leftovers(transport, Names(fleet.namespace).reply_queue(identity)):
                error = isinstance(reply.result, RuntimeEffectControllerError)
                digest = digest_of(reply, exact=fleet.journal != "none")
                answers[reply.effect_id].append((digest, error))
        report.left = await waiting(fleet, transport)
    for letter in letters:
        report.letters.setdefault(letter.effect_id, set()).add(letter.reason)
    judge(report, fleet, answers, set(report.letters))
    report.parked = Counter(letter.reason for letter in letters)
    if fleet.journal != "none":
        report.journal = await audit(fleet, answers)
    return report


def judge(
    report: Report, fleet: Fleet, answers: dict[str, list[tuple[str, bool]]], parked: set[str]
) -> None:
    """
    Fill in a report.

    Args:
        report: What to fill in.
        fleet: With records and ledger.
        answers: For each effect all answers that arrived: a digest, and whether it is an error.
        parked: The effects among the dead letters.
    """
    by_event: dict[str, list[str]] = defaultdict(list)
    for line in fleet.records.lines():
        by_event[line["event"]].append(line["effect"])
        if line["event"] == "outcome":
            report.told[line["error"]] += 1
    report.ok = report.told.pop("", 0)
    attempted, acknowledged = set(by_event["attempted"]), set(by_event["acknowledged"])
    answered = set(answers)
    report.attempted, report.acknowledged = len(attempted), len(acknowledged)
    report.lost = sorted(acknowledged - answered - parked)
    poison = set(by_event["poison"])
    report.unexpected = sorted((answered | parked) - attempted - (poison - answered))
    report.recovered = len((answered & attempted) - acknowledged)
    report.unsubmitted = sorted(attempted - acknowledged - answered)
    report.duplicated = sum(len(copies) - 1 for copies in answers.values())
    report.conflicting = sorted(
        effect for effect, copies in answers.items() if len({digest for digest, _ in copies}) > 1
    )
    report.hanging = sorted(by_event["timeout"] + by_event["late"])
    report.resubmissions = len(by_event["unconfirmed"])
    report.asked_again = len(by_event["again"])
    runs = fleet.ledger.runs()
    report.bodies = runs.total()
    report.extra_bodies = report.bodies - len(runs)
    good = {effect for effect, copies in answers.items() if not any(bad for _, bad in copies)}
    report.bodiless = sorted(good - set(runs))


def received(fleet: Fleet) -> dict[str, list[tuple[str, bool]]]:
    """All answers that producers were given, by effect."""
    answers: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for line in fleet.records.lines():
        if line["event"] == "received":
            answers[line["effect"]].append((line["digest"], bool(line["error"])))
    return answers


async def _leftovers(transport: Transport, queue: str) -> list[Reply]:
    """The answers that still wait in a reply queue, taken off it."""
    found: list[Reply] = []
    stats = await transport.stats(queue)
    if stats is None:
        return found
    consumer = await transport.consume(queue, prefetch=100, exclusive=True)
    messages = 0
    if stats.ready:
        async for delivery in consumer:
            found += read_replies(delivery.message)
            delivery.ack()
            messages += 1
            if messages == stats.ready:
                break
    await consumer.close()
    return found


async def dead_letters(fleet: Fleet, transport: Transport) -> list[DeadLetter]:
    """The letters of the fleet's namespace, each parking once."""
    letters = DeadLetters(transport, TopologySettings(namespace=fleet.namespace))
    async with letters.browse() as found:
        return list({letter.id: letter async for letter in found}.values())


async def waiting(fleet: Fleet, transport: Transport) -> dict[str, int]:
    """The queues of work in which something waits, and how much; dead letters do not wait."""
    names = Names(fleet.namespace)
    queues = [names.work_queue(kind) for kind in EFFECT_KINDS]
    queues += [names.delay(level) for level in fleet.delay_levels_ms]
    found: dict[str, int] = {}
    for queue in [*queues, names.limbo]:
        stats = await transport.stats(queue)
        if stats is not None and stats.ready:
            found[queue] = stats.ready
    return found


async def settle_queues(fleet: Fleet, timeout_s: float = 60.0) -> None:
    """Wait until the workers have taken everything that waits."""
    async with open_transport(fleet.broker, TransportSettings(name="checker")) as transport:

        async def empty() -> bool:
            return not await waiting(fleet, transport)

        await eventually(empty, timeout_s)
