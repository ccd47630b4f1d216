"""What a block calls that its worker lacks, and the way to a worker that has it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from effectmq.broker.store.database.port import Database
from effectmq.consumers.code.engine import Host, Program, Ran, StateUnreadableError
from effectmq.consumers.code.functions import functions_of, signatures
from effectmq.consumers.code.handler import CodeHandler
from effectmq.consumers.code.lacking import _PIECE, function_abilities, lacking
from effectmq.consumers.code.monty.engine import MontyEngine
from effectmq.consumers.code.settings import CodeSettings
from effectmq.consumers.worker import EffectWorker
from tests.consumers.code.stage import refused, run_block
from tests.consumers.stage import PATIENCE_S, Stage, code
from tests.waiting import eventually

_FUNCTIONS = functions_of({"pay": ("n", "note"), "get-user": ("name",)})
_BLOCKS = 12


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pay(1)", []),
        ("pay(1, note='a=b')", []),
        ("pay(n=dict(currency=1))", ["dict"]),
        ("pay(1, currency='CHF')", ["pay currency"]),
        ("pay(\n  1,\n  # in francs\n  currency='CHF',\n)", ["pay currency"]),
        ("pay(1 if x == 2 else 3)", []),
        ("pay([currency := 2])", []),
        ("x = get_user('a')", []),
        ("refund(1)", ["refund"]),
        ("pay(refund(1), note=refund(2))", ["refund"]),
        ("x.refund(1)", []),
        ("def refund(n): return n", []),
        ("class refund(n): pass", []),
        ("refund", []),
        ("'refund(1)' # refund(1)", []),
        ("await asyncio.gather(refund(1), *[renew(n) for n in x])", ["refund", "renew"]),
        ("refund(1)\n'", ["refund"]),
        ("refund(1)))", ["refund"]),
        ("(" * 50 + "refund(", ["refund"]),
        ("refund(1);" + " " * 60_000, []),
        ("refund\n(1)", []),
        ("refund \\\n(1)", ["refund"]),
        ("pay(1, note=f'{x}' 'currency=1')", []),
        ("pay(currency == 1)", []),
        ('"""\nrefund(1)\n\\""" refund(1)\n""" + renew(1)', ["renew"]),
        ("'refund(1)\nrenew(1)", ["renew"]),
    ],
)
def test_what_a_block_lacks(text: str, found: list[str]) -> None:
    """Functions that it calls by name, and keywords of those that there are."""
    lacks = lacking(text, _FUNCTIONS)
    told = [each.needs.removeprefix("code function ") for each in lacks]
    assert told == [each.split()[0] for each in found]
    able = function_abilities(_FUNCTIONS)
    assert [each.version for each in lacks] == [able.get(each.needs, "") for each in lacks]
    for each, name in zip(lacks, found, strict=True):
        assert name.split()[-1] in each.problem


@pytest.mark.parametrize(
    "text",
    [
        "'" + "\\'" * 20_000,
        '"' + '\\"' * 20_000,
        '"""' + '"\\' * 20_000,
        "'''" + "''\\" * 10_000,
        "\\" * 40_000,
        "(" * 40_000,
        "'" * 40_001,
        "é(" * 20_000,
        "f'{" * 10_000,
        "\x00\ud800(",
    ],
    ids=lambda text: ascii(text[:6]),
)
def test_each_character_of_a_hostile_text_is_read_once(text: str) -> None:
    """The loop of the worker waits for it, so nothing may be looked at again and again."""
    assert "".join(piece[0] for piece in _PIECE.finditer(text)) == text
    assert {each.version for each in lacking(text, _FUNCTIONS)} <= {""}


# A deployment that rolls --------------------------------------------------------------------------


async def rolling(
    stage: Stage, database: Database | None = None, **options: Any
) -> tuple[EffectWorker, EffectWorker]:
    """Workers of an old and of a new version, both of which run tools and code."""
    old, new = stage.worker(**options), stage.worker(**options)

    @old.tool(name="pay")
    async def old_pay(n: int) -> str:
        return f"old {n}"

    @new.tool(name="pay")
    async def pay(n: int, currency: str = "EUR") -> str:
        return f"{currency} {n}"

    @new.tool
    async def refund(n: int) -> str:
        return f"refunded {n}"

    for worker in (old, new):
        await with_code(stage, worker, database)
    running = old._running
    assert running is not None
    await eventually(lambda: not running._abilities.alike)
    return old, new


async def with_code(stage: Stage, worker: EffectWorker, database: Database | None) -> None:
    """Starts it, with a handler of code that calls its tools."""
    client = await stage.client()

    async def execute(envelope: Any) -> Any:
        return await client.execute(envelope, timeout=PATIENCE_S)

    tools = worker.tools
    worker.add(CodeHandler(database=database, tools=lambda: signatures(tools), execute=execute))
    await stage.start(worker)


@pytest.mark.parametrize(
    ("text", "told"),
    [("refund({n})", "refunded {n}"), ("pay({n}, currency='CHF')", "CHF {n}")],
)
async def test_code_goes_where_what_it_calls_is_known(stage: Stage, text: str, told: str) -> None:
    """None fails with a NameError or a TypeError, and none is a second attempt."""
    old, new = await rolling(stage)
    client = await stage.client()
    answers = await asyncio.gather(
        *(run_block(client, text.format(n=n), str(n)) for n in range(_BLOCKS))
    )
    assert [each.error for each in answers] == [None] * _BLOCKS
    assert [each.observations for each in answers] == [[repr(told.format(n=n))] for n in range(12)]
    assert old.counters["elsewhere"] > 0
    assert new.counters["elsewhere"] == old.counters["retried"] == 0


async def test_code_stays_where_nobody_has_what_it_calls(stage: Stage) -> None:
    """A mistake is told at once, and functions of its own are none."""
    old, new = await rolling(stage)
    client = await stage.client()
    for n in range(_BLOCKS):
        response = await run_block(client, "def own(n): return n\nown(pay(1))\nrefnud(1)", str(n))
        assert response.error is not None
        assert response.error.startswith("Traceback")
        assert "NameError: name 'refnud' is not defined" in response.error
    assert old.counters["elsewhere"] == new.counters["elsewhere"] == 0


async def test_code_runs_here_when_it_is_not_to_be_given_back(stage: Stage) -> None:
    """Whoever sets ``elsewhere_s`` to 0 has the block run, whatever it calls."""
    old, new = await rolling(stage, elsewhere_s=0)
    client = await stage.client()
    answers = await asyncio.gather(
        *(run_block(client, "print(1)\nrefund(2)", str(n)) for n in range(_BLOCKS))
    )
    assert {each.observations[0] for each in answers} == {"1\n"}
    assert old.counters["elsewhere"] == new.counters["elsewhere"] == 0


class _Other(MontyEngine):
    """Keeps variables that no other engine reads, and reads no other's."""

    def __init__(self, name: str) -> None:
        super().__init__(CodeSettings(processes=1))
        self.name = name

    async def run(self, program: Program, host: Host) -> Ran:
        if program.state is not None and not program.state.startswith(self.name.encode()):
            raise StateUnreadableError("it begins otherwise")
        state = program.state and program.state.removeprefix(self.name.encode())
        ran = await super().run(Program(program.code, state, program.seed), host)
        kept = None if ran.state is None else self.name.encode() + ran.state
        return Ran(ran.printed, ran.value, ran.error, kept)


async def test_variables_go_on_at_a_worker_that_reads_them(
    stage: Stage, database: Database
) -> None:
    """What one interpreter kept another one may not read, and that is no outcome of the block."""
    client = await stage.client()
    first = stage.worker()
    first.add(CodeHandler(database=database, engine=_Other("one")))
    await stage.start(first)
    await run_block(client, "x = 1", "begin")
    second = stage.worker()
    second.add(CodeHandler(database=database, engine=_Other("two")))
    await stage.start(second)
    for n in range(_BLOCKS):
        response = await run_block(client, "x += 1\nx", str(n))
        assert response.observations == [str(n + 2)]
    assert second.counters["elsewhere"] > 0
    await first.stop()
    outcome = await client.execute(code("x", "late"), timeout=PATIENCE_S)
    assert "cannot be read by two" in refused(outcome)
