"""Which calls a block waits for later, read off its tokens."""

from __future__ import annotations

import pytest

from effectmq.consumers.code.cpython.inside.awaited import awaited_calls, gathered_with


def found(code: str) -> list[str]:
    """The calls with what stands in their parentheses, as they stand in the text."""
    lines = [line.encode() for line in code.split("\n")]
    starts = sorted(awaited_calls(code, {"ask", "tell"}))
    return [lines[line - 1][at:].decode().partition(")")[0] + ")" for line, at in starts]


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        ("ask(1)", []),
        ("x = ask(1)\nprint(x[0], await y)", []),
        ("await ask(1)", ["ask(1)"]),
        ("await (ask(1))", ["ask(1)"]),
        ("x = (await ask(1)) + ask(2)", ["ask(1)"]),
        ("await gather(ask(1), f(ask(2)), tell(3))", ["ask(1)", "tell(3)"]),
        ("print(ask(1)); r = await asyncio.gather(ask(2))", ["ask(2)"]),
        ("r = await gather(*[ask(n) for n in range(3)])", ["ask(n)"]),
        ("r = await gather(*(ask(n) for n in ask(9) if ask(n)))", ["ask(n)"]),
        ("t = [ask(n) for n in range(3)]\nr = await gather(*t)", ["ask(n)"]),
        ("t = []\nfor n in x:\n    t.append(ask(n))\nawait gather(*t)", ["ask(n)"]),
        ("t = []\nt.append(ask(1))\nu = []\nu.append(ask(2))\nawait gather(*t)", ["ask(1)"]),
        ("t = {}\nt['a'] = ask(1)\nawait gather(*t.values())", ["ask(1)"]),
        ("t = {k: ask(k) for k in 'ab'}\nawait gather(*t.values())", ["ask(k)"]),
        ("a, b = ask(1), ask(2)\nc = ask(3)\nawait gather(a, b)", ["ask(1)", "ask(2)"]),
        ("a = ask(1)\nb = ask(2)\nprint(b)\nawait a", ["ask(1)"]),
        ("a = ask(1)\nb = a\nawait b", ["ask(1)"]),
        ("a = ask(1)[0]\nawait a", []),
        ("a = ask(1).x\nawait a", []),
        ("a = ask(1) + 1\nawait a", []),
        ("t = ask(1) if x else ask(2)\nawait t", ["ask(1)", "ask(2)"]),
        ("for t in [ask(1), ask(2)]:\n    await t", ["ask(1)", "ask(2)"]),
        ("ts = (ask(1), ask(2))\nfor t in ts:\n    await t", ["ask(1)", "ask(2)"]),
        ("ts = ask(1)\nfor t in ts:\n    print(t)\nawait x", []),
        ("if ask(1): await ask(2)", ["ask(2)"]),
        ("async with TaskGroup() as g:\n    g.create_task(ask(1))", []),
        ("import asyncio\nasyncio.run(asyncio.wait_for(ask(1), 5))", ["ask(1)"]),
        ("async def f(n):\n    a = await ask(n)\n    return a, tell(a)", ["ask(n)"]),
        ("xs = ask(1)\nr = await gather(*[f(x) for x in xs])", []),
        ("é = 'é'; r = await gather(ask(é), tell('é'))", ["ask(é)", "tell('é')"]),
        ("def ask(n): return n\nx.ask(1)\nawait y", []),
    ],
)
def test_what_is_awaited_somewhere_is_found(code: str, calls: list[str]) -> None:
    """Directly, in ``gather`` and its like, or by way of a name. The rest is had at once."""
    assert found(code) == calls


@pytest.mark.parametrize(
    "code",
    [
        "await " * 5_000 + "ask(1)",
        "await ask(" * 5_000,
        "await x" + ")" * 5_000,
        "await gather(ask('",
        "await x\n\tif\n  ask(1)\n ask",
        "await \x00 ask(1)",
        "await ask(1)\\",
        "await 0b2 ask(1) \ud800",
        "= ask(1) await",
        "a = " * 2_000 + "ask(1)\nawait a",
        "for a in " * 2_000 + "ask(1)\nawait a",
        "await x\n" + "ask(1)\n" * 50_000,
    ],
)
def test_hostile_text_is_read_as_well(code: str) -> None:
    """It says something, and says it soon; whether it is a program is for the interpreter."""
    assert isinstance(awaited_calls(code, {"ask"}), frozenset)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("asyncio.gather(a, b, return_exceptions=True)", (1, "return_exceptions")),
        ("x = 1\nasyncio.gather(\n  a,\n  return_exceptions = f)", (4, "return_exceptions")),
        ("from asyncio import gather\ngather(*a, loop=None)", (2, "loop")),
        ("asyncio.gather(a(x=1), b[c(y=2)])", None),
        ("asyncio.gather(a == b)", None),
        ("asyncio.gather()", None),
        ("# asyncio\ndef gather(a, b=1): ...\ngather(1, b=2)", None),
        ("'asyncio.gather(a, b=1)'", None),
        ("asyncio.gather(a, b=1", None),
        ("gather(a, b=1)", None),
    ],
)
def test_keywords_of_gather_are_found(text: str, found: tuple[int, str] | None) -> None:
    """Its own, and not those of what stands inside."""
    assert gathered_with(text) == found
