"""Admission on every database: who starts, who waits, and what comes back of the dead."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import pytest

from effectmq.broker.store.admission.deciding.gates import Verdict
from effectmq.broker.store.admission.declared.keys import Line, Turn, shared_line
from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.keeping import room, upkeep
from effectmq.broker.store.admission.keeping.book import Book
from effectmq.broker.store.admission.records import (
    Admitted,
    Ask,
    End,
    Ended,
    NotAdmitted,
    Settle,
    Worker,
)
from effectmq.broker.store.admission.store import AdmissionStore, LimitDesk
from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Database, Transaction
from effectmq.protocol.messages.message import Message
from tests.waiting import eventually

_LONG_MS = 600_000
#: For a lock that somebody waits for.
_PATIENCE_S = 4.0
_TWO = Limit.of("tool_call", key="tool", concurrency=2, name="two")


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    """An open, empty database."""
    async with open_database(database_url, namespace="limits") as opened:
        yield opened


async def store_of(database: Database, owner: str, *limits: Limit) -> AdmissionStore:
    """The store as one worker has it."""
    made = AdmissionStore(database, Worker(owner, _LONG_MS))
    await made.open(limits, owner)
    return made


def ask(effect: str, *lines: Line, route: str = "tool_call", reply: str = "r", **more: int) -> Ask:
    """A question of an effect, whose token is its name."""
    message = Message(body=effect.encode(), reply_to=reply, headers={"effect-hash": "h"})
    return Ask(
        effect, f"token-{effect}", lines or (Line("two", "x"),), route, message, route, **more
    )


async def admitted(store: AdmissionStore, *asked: Ask) -> list[str]:
    """Of these, the effects that may start."""
    answers = await asyncio.gather(*map(store.ask, asked))
    return [
        one.effect
        for one, answer in zip(asked, answers, strict=True)
        if isinstance(answer, Admitted)
    ]


async def taken(store: AdmissionStore, slots: int = 9, cancelled: Sequence[str] = ()) -> list[str]:
    """The effects that come out of the room."""
    found = await store.take({"tool_call": slots}, cancelled)
    return [one.message.body.decode() for one in found]


async def test_what_is_not_admitted_waits_in_order(database: Database) -> None:
    """And comes out with everything that its message had."""
    store = await store_of(database, "w", _TWO)
    asked = [ask(f"e{nth}", more) for nth, more in enumerate([Line("two", "x")] * 6)]
    assert await admitted(store, *asked[:3]) == ["e0", "e1"]
    # Capacity is free, and somebody came earlier.
    assert await store.ask(End("e0", "token-e0", asked[0].lines)) == Ended(waited_for=True)
    assert await admitted(store, *asked[3:]) == []
    (first,) = await store.take({"tool_call": 9})
    assert (first.message.body, first.message.reply_to) == (b"e2", "r")
    assert first.message.headers == {"effect-hash": "h"}
    assert (first.home, first.route, first.lines) == ("tool_call", "tool_call", asked[2].lines)
    assert await taken(store) == []
    await store.ask(End(first.effect, first.token, first.lines))
    await store.ask(Settle(first.room_id, first.token))
    assert await taken(store) == ["e3"]


async def test_keys_do_not_wait_for_each_other(database: Database) -> None:
    """Nor does what no limit names."""
    store = await store_of(database, "w", _TWO)
    asked = [ask(f"{key}{nth}", Line("two", key)) for key in "xy" for nth in range(3)]
    assert await admitted(store, *asked) == ["x0", "x1", "y0", "y1"]
    assert await admitted(store, ask("z", Line("unknown", "x"))) == ["z"]


async def test_all_limits_of_an_effect_must_admit_it(database: Database) -> None:
    """What waits for one does not count for the other meanwhile."""
    one = Limit.of("*", key="session", concurrency=1, name="one")
    store = await store_of(database, "w", _TWO, one)
    s1, s2, x = Line("one", "s1"), Line("one", "s2"), Line("two", "x")
    assert await admitted(store, ask("a", s1, x), ask("b", s1, x), ask("c", s2, x)) == ["a", "c"]
    # b waits for its session, and then for the tool, behind d.
    assert await admitted(store, ask("d", x)) == []
    await store.ask(End("a", "token-a", (s1, x)))
    assert await taken(store) == ["b"]
    await store.ask(End("c", "token-c", (s2, x)))
    assert await taken(store) == ["d"]


async def test_slots_bound_what_is_taken(database: Database) -> None:
    """What the worker has no room for stays for others."""
    store = await store_of(database, "w", _TWO)
    asked = [ask(f"e{nth}") for nth in range(4)]
    await admitted(store, *asked)
    for one in asked[:2]:
        await store.ask(End(one.effect, one.token, one.lines))
    assert await taken(store, slots=0) == []
    assert await taken(store, slots=1) == ["e2"]
    other = await store_of(database, "v")
    assert (await other.look(["tool_call"])).due
    assert not (await other.look(["llm_call"])).due
    assert await taken(other) == ["e3"]


async def test_the_share_of_a_dead_worker_comes_back(database: Database) -> None:
    """Its permits, and what it took out of the room; those of the living are renewed."""
    dead = await store_of(database, "dead", _TWO)
    living = await store_of(database, "living")
    line = Line("two", "x")
    assert await admitted(dead, ask("a", line)) == ["a"]
    assert await admitted(living, ask("b", line), ask("c", line)) == ["b"]
    await living.ask(End("b", "token-b", (line,)))
    assert await taken(dead) == ["c"]
    # The last that it does; until then its lease is long, however slow the machine is.
    await AdmissionStore(database, Worker("dead", 1)).renew()

    async def left_over() -> bool:
        return (await living.look(["tool_call"])).left_over

    await eventually(left_over)
    await living.recover()
    assert await taken(living) == ["c"]
    assert await admitted(living, ask("d", line), ask("e", line)) == ["d"]


async def test_a_worker_that_leaves_gives_everything_back(database: Database) -> None:
    """At once."""
    leaving, other = await store_of(database, "l", _TWO), await store_of(database, "o")
    await admitted(leaving, ask("a"), ask("b"), ask("c"))
    await leaving.ask(End("a", "token-a", (Line("two", "x"),)))
    assert await taken(leaving) == ["c"]
    await leaving.close()
    assert await taken(other) == ["c"]
    assert await admitted(other, ask("d"), ask("e")) == ["d"]


async def test_the_same_effect_counts_once(database: Database) -> None:
    """Asked again because an answer was lost, or by the worker that has it now."""
    first, second = await store_of(database, "1", _TWO), await store_of(database, "2")
    assert await admitted(first, ask("a"), ask("a")) == ["a", "a"]
    assert await admitted(second, ask("a"), ask("b"), ask("c")) == ["a", "b"]
    # The end of the first attempt takes nothing away from the second.
    again = ask("a")
    await first.ask(End("a", "another token", again.lines))
    assert await admitted(second, ask("d")) == []


async def test_routes_that_share_a_limit_take_turns(database: Database) -> None:
    """Although the workers of one look first every time, and more of its effects come."""
    tools = await store_of(database, "tools", Limit.of("*", concurrency=1, name="one"))
    models = await store_of(database, "models")
    line = Line("one")
    assert await admitted(tools, *(ask(f"t{nth}", line) for nth in range(4))) == ["t0"]
    await admitted(models, *(ask(f"m{nth}", line, route="llm_call") for nth in range(2)))
    last = End("t0", "token-t0", (line,))
    begun = ["t0"]
    for nth in range(4, 9):
        await tools.ask(last)
        begun += await admitted(tools, ask(f"t{nth}", line))
        found = await tools.take({"tool_call": 9}) or await models.take({"llm_call": 9})
        (one,) = found
        begun.append(one.effect)
        last = End(one.effect, one.token, one.lines)
    assert begun == ["t0", "t1", "m0", "t2", "m1", "t3"]


async def test_a_full_room_takes_nobody_else(database: Database) -> None:
    """Who has a place in it keeps that, also with a new message."""
    store = await store_of(database, "w", Limit.of("*", concurrency=1, name="one"))
    line = Line("one")
    await admitted(store, ask("a", line), ask("b", line))
    full = [replace(ask(name, line), may_enter=False) for name in "bc"]
    kept, turned_away = await asyncio.gather(*map(store.ask, full))
    assert (kept, turned_away) == (NotAdmitted(line), NotAdmitted(line, full=True))
    await store.ask(End("a", "token-a", (line,)))
    assert await taken(store) == ["b"]
    assert await taken(store) == []


async def test_one_alone_asks_whatever_ends_meanwhile(database: Database) -> None:
    """Of two that ran when one was told to wait, the other does not open the line."""
    model = Limit.of("*", key="model", breaker=9, name="model")
    store, line = await store_of(database, "w", model), Line("model", "m")
    asked = [ask(name, line) for name in ("told", "older", "probe", "next")]
    assert await admitted(store, *asked[:2]) == ["told", "older"]
    await store.ask(End("told", "token-told", (line,), Verdict("failed", 1)))

    async def probed() -> bool:
        return bool(await taken(store)) or await admitted(store, asked[2]) == ["probe"]

    await eventually(probed)
    await store.ask(End("older", "token-older", (line,), Verdict("ok")))
    assert await admitted(store, asked[3]) == []
    held = await database.read(
        lambda tx: tx.execute("SELECT token FROM effectmq_permits WHERE namespace = 'limits'")
    )
    ((token,),) = held
    await store.ask(End("probe", str(token), (line,), Verdict("ok")))
    assert await taken(store) == ["next"]


async def test_an_effect_that_runs_comes_out_for_nobody_else(database: Database) -> None:
    """Its other ticket waits for the end, keeps nobody behind it, and is answered then."""
    store = await store_of(database, "w", _TWO)
    line = Line("two", "x")
    await admitted(store, ask("a", line), ask("b", line))
    await admitted(store, ask("e", line), ask("e", line, reply="s"), ask("f", line))
    for effect in "ab":
        assert await store.ask(End(effect, f"token-{effect}", (line,))) == Ended(waited_for=True)
    first, second = await store.take({"tool_call": 9})
    assert [first.effect, second.effect] == ["e", "f"]
    assert not (await store.look(["tool_call"])).due
    await store.ask(End("f", second.token, (line,)))
    assert await taken(store) == []
    # Nor does it keep who comes later.
    assert await admitted(store, ask("g", line)) == ["g"]
    end = await store.ask(End("e", first.token, (line,)))
    assert end == Ended(waited_for=True, copies=True)
    (copy,) = await store.take({"tool_call": 9}, ["e"])
    assert (copy.effect, copy.message.reply_to, copy.lines) == ("e", "s", ())


async def test_a_ticket_that_came_back_with_other_lines_meanwhile_is_left_for_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its gates are not locked; the next look has them."""
    store = await store_of(database, "w", _TWO, Limit.of("*", key="session", rate="9/s", name="s"))
    line, other = Line("two", "x"), Line("s", "s1")
    await admitted(store, ask("a", line), ask("b", line), ask("c", line))
    await store.ask(End("a", "token-a", (line,)))
    found = room.free_tickets

    def changed(tx: Transaction, line: Line, free: dict[str, int]) -> list[room.Ticket]:
        tickets = found(tx, line, free)
        tx.execute("UPDATE effectmq_room SET lines_json = ?", (json.dumps([other, line]),))
        return tickets

    with monkeypatch.context() as patch:
        patch.setattr(room, "free_tickets", changed)
        assert await taken(store) == []
    assert await taken(store) == ["c"]


async def test_an_end_that_is_said_again_counts_once(database: Database) -> None:
    """Its answer was lost with the connection."""
    tool = Limit.of("*", key="tool", breaker=2, name="tool")
    store, desk = await store_of(database, "w", tool), LimitDesk(database)
    line = Line("tool", "x")
    await admitted(store, ask("a", line))
    for _ in range(3):
        await store.ask(End("a", "token-a", (line,), Verdict("failed")))
    assert [state.shut for state in await desk.states()] == [0]
    await admitted(store, ask("b", line))
    await store.ask(End("b", "token-b", (line,), Verdict("failed")))
    assert [state.shut for state in await desk.states()] == [1]


async def test_each_reply_queue_has_a_ticket(database: Database) -> None:
    """The same effect for the same queue has one, and the newest message of it."""
    store = await store_of(database, "w", Limit.of("*", concurrency=1, name="one"))
    line = Line("one")
    await admitted(store, ask("first", line))
    await admitted(store, ask("e", line), ask("f", line), ask("e", line), ask("e", line, reply="s"))
    await store.ask(End("first", "token-first", (line,)))
    (one,) = await store.take({"tool_call": 9})
    assert (one.effect, one.message.reply_to) == ("e", "r")
    # It comes back to the room while it is taken: settling what was taken takes nothing away.
    assert isinstance(await store.ask(ask("e", line)), NotAdmitted)
    await store.ask(Settle(one.room_id, one.token))
    desk = LimitDesk(database)
    assert [(state.route, state.waiting) for state in await desk.waiting()] == [("tool_call", 3)]


async def test_deadlines_and_cancelled_effects_come_out_without_a_permit(
    database: Database,
) -> None:
    """They only have to be answered."""
    store = await store_of(database, "w", Limit.of("*", concurrency=1, name="one"))
    line = Line("one")
    late = ask("late", line, deadline_ms=1)
    await admitted(store, ask("a", line), late, ask("b", line), ask("c", line))
    assert (await store.look(["tool_call"])).due
    assert not (await store.look(["llm_call"])).due
    found = await store.take({"tool_call": 0}, ["c", "unknown"])
    assert {(one.effect, one.lines) for one in found} == {("late", ()), ("c", ())}
    await store.ask(End("a", "token-a", (line,)))
    assert await taken(store) == ["b"]


async def test_a_limit_that_is_cleared_or_raised_lets_them_in(database: Database) -> None:
    """Without anybody ending."""
    store, desk = await store_of(database, "w", _TWO), LimitDesk(database)
    await admitted(store, *(ask(f"e{nth}") for nth in range(6)))
    await desk.set(Limit.of("tool_call", key="tool", concurrency=3, name="two"), "anna")
    assert (await store.look(["tool_call"])).due
    assert await taken(store) == ["e2"]
    assert await desk.clear("two")
    assert not await desk.clear("two")
    assert await taken(store) == ["e3", "e4", "e5"]


async def test_what_an_operator_sets_wins_over_a_program(database: Database) -> None:
    """Until it is cleared; the last program wins over others."""
    desk = LimitDesk(database)
    await store_of(database, "w", _TWO)
    operators = Limit.of("tool_call", key="tool", concurrency=7, name="two", source="operator")
    await desk.set(operators, "anna")
    await store_of(database, "w", _TWO)
    (state,) = await desk.states()
    assert (state.limit, state.set_by) == (operators, "anna")
    await desk.clear("two")
    await store_of(database, "v", _TWO)
    (state,) = await desk.states()
    assert (state.limit, state.set_by) == (_TWO, "v")


async def test_people_see_what_runs_and_what_waits(database: Database) -> None:
    """By limit, and by the values of its key."""
    model = Limit.of("llm_call", key="model", breaker=1, cooldown_s=600, name="model")
    store, desk = await store_of(database, "w", _TWO, model), LimitDesk(database)
    await admitted(store, *(ask(f"e{nth}") for nth in range(3)), ask("y", Line("two", "y")))
    m = Line("model", "m")
    await admitted(store, ask("m", m, route="llm_call"))
    await store.ask(End("m", "token-m", (m,), Verdict("failed")))
    models, tools = await desk.states()
    assert (tools.running, tools.waiting, tools.shut) == (3, 1, 0)
    assert tools.oldest_ms > 0
    assert [(one.value, one.running, one.waiting) for one in tools.lines] == [
        ("x", 2, 1),
        ("y", 1, 0),
    ]
    assert (models.running, models.shut) == (0, 1)
    (line,) = models.lines
    assert (line.value, line.shut, line.failures) == ("m", True, 1)
    assert 0 < line.opens_in_ms <= 600_000
    waiting = await store.waiting()
    assert (waiting.routes[0].waiting, waiting.shut) == (1, {"model": 1})


async def test_namespaces_have_limits_and_rooms_of_their_own(
    database: Database, database_url: str
) -> None:
    """The same names mean other limits."""
    store = await store_of(database, "w", _TWO)
    await admitted(store, ask("a"), ask("b"), ask("c"))
    async with open_database(database_url, namespace="others") as theirs:
        other = await store_of(theirs, "w")
        seen = await other.look(["tool_call"])
        assert (seen.limits, seen.due, seen.left_over) == ([], False, False)
        assert await admitted(other, ask("a"), ask("b"), ask("c")) == ["a", "b", "c"]


async def test_workers_that_ask_at_once_never_get_more_than_there_is(database: Database) -> None:
    """On a database that many share, too."""
    stores = [await store_of(database, f"w{nth}", _TWO) for nth in range(4)]
    asked = [
        ask(f"e{nth}-{store}", Line("two", "x"), Line("two", f"y{nth % 3}"))
        for store in range(4)
        for nth in range(12)
    ]
    found = await asyncio.gather(
        *(admitted(store, *asked[nth::4]) for nth, store in enumerate(stores))
    )
    assert sum(map(len, found)) == 2
    for store, mine in zip(stores, found, strict=True):
        for effect in mine:
            lines = next(one.lines for one in asked if one.effect == effect)
            await store.ask(End(effect, f"token-{effect}", lines))
    got = await asyncio.gather(*(taken(store) for store in stores))
    assert sum(map(len, got)) == 2


async def aged(database: Database, days: float) -> None:
    """Nobody has used any gate for so many days."""
    await database.write(
        lambda tx: tx.execute(
            "UPDATE effectmq_gates SET used_ms = used_ms - ? WHERE namespace = ?",
            (round(days * 86_400_000), tx.namespace),
        )
    )


async def gates(database: Database) -> list[str]:
    """The limits of the gates that are kept."""
    rows = await database.read(
        lambda tx: tx.execute(
            "SELECT name FROM effectmq_gates WHERE namespace = ? ORDER BY name", (tx.namespace,)
        )
    )
    return [str(row[0]) for row in rows]


async def test_a_gate_is_forgotten_when_it_says_nothing_any_more(database: Database) -> None:
    """Starts count for their period, and a wait is heeded, however long both are."""
    week = Limit.of("*", rate="1/7d", name="week")
    wait = Limit.of("*", key="tool", name="wait")
    store = await store_of(database, "w", _TWO, week, wait)
    asked = [ask(name, Line(name, "x" * (name != "week"))) for name in ("two", "wait", "week")]
    assert await admitted(store, *asked) == ["two", "wait", "week"]
    for one in asked:
        told = Verdict("failed", 3 * 86_400_000 if one.effect == "wait" else 0)
        await store.ask(End(one.effect, one.token, one.lines, told))
    await aged(database, 2)
    await store.renew()
    assert await gates(database) == ["wait", "week"]
    await aged(database, 6)
    await store.renew()
    assert await gates(database) == ["wait"]


async def test_what_comes_back_to_a_forgotten_gate_is_found(database: Database) -> None:
    """It ran for days, alone in its line, when its worker left."""
    leaving, other = await store_of(database, "l", _TWO), await store_of(database, "o")
    asked = [ask(name) for name in "abc"]
    await admitted(leaving, *asked)
    for one in asked[:2]:
        await leaving.ask(End(one.effect, one.token, one.lines))
    assert await taken(leaving) == ["c"]
    await aged(database, 2)
    await other.renew()
    assert await gates(database) == []
    await leaving.close()
    assert (await other.look(["tool_call"])).due
    assert await taken(other) == ["c"]


async def test_a_worker_whose_clock_is_behind_does_not_take_the_same_effect_all_the_time(
    database: Database,
) -> None:
    """It sends back what came out because its deadline is over; that rests for a moment."""
    store = await store_of(database, "w", Limit.of("*", concurrency=1, name="one"))
    line = Line("one")
    late = ask("late", line, deadline_ms=1)
    assert await admitted(store, ask("a", line), late) == ["a"]
    (out,) = await store.take({"tool_call": 1})
    assert isinstance(await store.ask(late), NotAdmitted)
    await store.ask(Settle(out.room_id, out.token))
    kept = await database.read(
        lambda tx: tx.execute(
            "SELECT since_ms, deadline_ms FROM effectmq_room WHERE namespace = ?", (tx.namespace,)
        )
    )
    ((since_ms, deadline_ms),) = kept
    assert isinstance(since_ms, int)
    assert isinstance(deadline_ms, int)
    assert deadline_ms >= since_ms + 1_000


async def test_a_limit_that_is_cleared_and_set_again_begins_with_open_gates(
    database: Database,
) -> None:
    """What has started counts on: whoever answers counts it, too."""
    model = Limit.of("*", key="model", rate="3/h", breaker=2, name="model")
    store, desk = await store_of(database, "w", model), LimitDesk(database)
    line = Line("model", "m")
    await admitted(store, ask("a", line), ask("b", line))
    await store.ask(End("a", "token-a", (line,), Verdict("failed", _LONG_MS)))
    assert await admitted(store, ask("c", line)) == []
    await desk.clear("model")
    await desk.set(model, "anna")
    assert await taken(store) == ["c"]
    assert await admitted(store, ask("d", line)) == []
    (state,) = await desk.states()
    assert (state.shut, state.waiting) == (0, 1)


@pytest.mark.postgres
async def test_the_dead_are_freed_in_the_order_in_which_others_lock(postgres_url: str) -> None:
    """
    Gates first: a worker that is late and ends an attempt meanwhile makes no deadlock of it.

    Each transaction runs once; one that loses a deadlock is run again.
    """
    async with open_database(postgres_url, namespace="limits") as database:
        late = AdmissionStore(database, Worker("late", 1))
        await late.open([_TWO], "late")
        line = Line("two", "x")
        await late.ask(ask("a", line))
        runs: list[str] = []
        begun = threading.Event()

        def end(tx: Transaction) -> None:
            runs.append("end")
            book = Book(tx, [line], "late", 1)
            begun.set()
            waits_for_us = (
                "SELECT 1 FROM pg_locks "
                "WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            )
            until_s = time.monotonic() + _PATIENCE_S
            while not tx.execute(waits_for_us) and time.monotonic() < until_s:
                time.sleep(0.01)
            book.end("a", "token-a", [line], Verdict("ok"))
            book.save()

        def recover(tx: Transaction) -> None:
            runs.append("recover")
            upkeep.recover(tx)

        ended = database.write(end)
        await asyncio.to_thread(begun.wait)
        await asyncio.gather(ended, database.write(recover))
        assert sorted(runs) == ["end", "recover"]


async def test_gates_of_very_many_values_do_not_pile_up(database: Database) -> None:
    """Those that say nothing are forgotten soon; a failure is remembered for longer."""
    tool = Limit.of("*", key="tool", concurrency=1, breaker=2, name="tool")
    store = await store_of(database, "w", tool)
    asked = [ask(f"e{nth}", Line("tool", f"t{nth}")) for nth in range(50)]
    assert len(await admitted(store, *asked)) == 50
    for nth, one in enumerate(asked):
        await store.ask(End(one.effect, one.token, one.lines, Verdict("failed" if nth else "ok")))
    await aged(database, 0.02)
    await store.renew()
    assert len(await gates(database)) == 49
    await aged(database, 1)
    await store.renew()
    assert await gates(database) == []


async def test_a_clock_that_was_set_back_keeps_nobody(database: Database) -> None:
    """What was noted by the clock before counts from now."""
    store = await store_of(database, "w", Limit.of("*", rate="1/s", name="one"))
    line = Line("one")
    await admitted(store, ask("a", line), ask("b", line))
    day_ms = 86_400_000

    def ahead(tx: Transaction) -> None:
        now_ms = tx.lease_time().now_ms + day_ms
        tx.execute("UPDATE effectmq_gates SET look_ms = ?, starts = ?", (now_ms, f"{now_ms}"))

    await database.write(ahead)
    await store.renew()
    assert (await store.look(["tool_call"])).due

    async def comes_out() -> bool:
        return await taken(store) == ["b"]

    await eventually(comes_out)


async def test_what_waits_is_looked_at_once_after_the_host_was_rebooted(database: Database) -> None:
    """The clock of leases begins anew, so times of the one before say nothing."""
    store = await store_of(database, "w", Limit.of("*", key="tool", name="one"))
    line = Line("one", "x")
    await admitted(store, ask("a", line))
    await store.ask(End("a", "token-a", (line,), Verdict("failed", _LONG_MS)))
    assert await admitted(store, ask("b", line)) == []
    await database.write(lambda tx: tx.execute("UPDATE effectmq_gates SET clock = 'before'"))
    assert not (await store.look(["tool_call"])).due
    again = await store_of(database, "v")
    assert await taken(again) == ["b"]


def waiting(effect: str, who: str, *lines: Line, cost: int = 100, full: bool = True) -> Ask:
    """A question of an effect of a shared route; ``full`` for one that waits in any case."""
    asked = ask(effect, *lines, shared_line("tool_call"))
    return replace(asked, turn=Turn(who, cost), full=full)


async def test_shared_effects_wait_for_their_turn(database: Database) -> None:
    """Whatever one of them has queued; what is taken has no line of the share."""
    store = await store_of(database, "w")
    for effect in ("a1", "a2", "a3", "a4"):
        assert await admitted(store, waiting(effect, "a")) == []
    assert await taken(store, slots=2) == ["a1", "a2"]
    await admitted(store, *(waiting(f"b{nth}", "b", cost=50) for nth in range(5)))
    # Those of b count half: two of them start for one of a.
    assert await taken(store, slots=1) == ["b0"]
    assert sorted(await taken(store, slots=3)) == ["a3", "b1", "b2"]
    assert sorted(await taken(store, slots=2)) == ["a4", "b3"]
    assert await taken(store) == ["b4"]
    assert await taken(store) == []


async def test_who_has_a_slot_waits_only_for_those_before_it(database: Database) -> None:
    """A worker may not know yet that others wait for their turn."""
    store = await store_of(database, "w", _TWO)
    x = Line("two", "x")
    assert await admitted(store, waiting("a1", "a", x, full=False)) == ["a1"]
    assert await admitted(store, waiting("a2", "a", x)) == []
    assert await admitted(store, waiting("b1", "b", x, full=False)) == []
    found = await store.take({"tool_call": 5})
    # One more may run by the limit; the other waits for that now, with its number.
    assert [one.lines for one in found] == [(x,)]
    await store.ask(End("a1", "token-a1", (x,)))
    assert len(await taken(store)) == 1


async def test_a_limit_keeps_nobody_else_from_their_turn(database: Database) -> None:
    """Those that it keeps use up no slot, however many they are."""
    one = Limit.of("tool_call", key="tool", concurrency=1, name="two")
    store = await store_of(database, "w", one)
    x = Line("two", "x")
    asked = [waiting(f"a{nth}", "a", x) for nth in range(20)]
    await admitted(store, *asked, waiting("b", "b"), waiting("c", "c"))
    assert len(await taken(store, slots=3)) == 3
    assert await taken(store, slots=3) == []


async def test_turns_are_remembered_for_those_that_wait_only(database: Database) -> None:
    """Who has not waited for a while begins where the others are, and needs no row."""
    store = await store_of(database, "w")
    for nth in range(3):
        await admitted(store, waiting(f"{nth}", f"session-{nth}"))
        assert await taken(store) == [str(nth)]
    await admitted(store, waiting("a1", "a"), waiting("a2", "a"))
    await taken(store)
    await admitted(store, waiting("b", "b"))
    rows = await database.read(
        lambda tx: tx.execute("SELECT who FROM effectmq_turns WHERE namespace = ?", (tx.namespace,))
    )
    # A row with their own numbers ahead, and that of the route.
    assert sorted(str(row[0]) for row in rows) in (["", "=b"], ["", "=a", "=b"])
