"""Group commit: who shares a transaction, and what each of them hears."""

from __future__ import annotations

import asyncio

import pytest

from effectmq.broker.store.database.group_commit import GroupCommit
from effectmq.protocol.errors import DatabaseUnavailableError


class Slow:
    """A database whose transactions the test ends by hand."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.ends: list[asyncio.Future[list[int]]] = []

    def commit(self, group: list[int]) -> asyncio.Future[list[int]]:
        self.groups.append(group)
        end: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self.ends.append(end)
        return end

    def succeed(self) -> None:
        self.ends[-1].set_result([10 * number for number in self.groups[-1]])


async def turn() -> None:
    """Let everything that is due happen."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_asked_in_one_turn_shares_a_transaction() -> None:
    """And what is asked meanwhile shares the next one, in order."""
    slow = Slow()
    group = GroupCommit(slow.commit)
    first = [group.ask(number) for number in range(3)]
    await turn()
    second = [group.ask(number) for number in (7, 5, 6)]
    await turn()
    assert slow.groups == [[0, 1, 2]]
    slow.succeed()
    assert await asyncio.gather(*first) == [0, 10, 20]
    assert slow.groups == [[0, 1, 2], [7, 5, 6]]
    slow.succeed()
    assert await asyncio.gather(*second) == [70, 50, 60]


async def test_nothing_is_answered_before_it_is_durable() -> None:
    """However many turns of the loop go by."""
    slow = Slow()
    group = GroupCommit(slow.commit)
    answer = group.ask(1)
    await turn()
    assert not answer.done()
    slow.succeed()
    assert await answer == 10


async def test_a_failed_transaction_fails_all_of_its_group_and_nothing_else() -> None:
    """The next group is tried all the same."""
    slow = Slow()
    group = GroupCommit(slow.commit)
    failing = [group.ask(1), group.ask(2)]
    await turn()
    fine = group.ask(3)
    slow.ends[0].set_exception(DatabaseUnavailableError("full"))
    results = await asyncio.gather(*failing, return_exceptions=True)
    assert [str(result) for result in results] == ["full", "full"]
    slow.succeed()
    assert await fine == 30


async def test_a_transaction_that_cannot_begin_is_told_like_any_failure() -> None:
    """Nobody waits for ever, and the next one is tried again."""
    slow = Slow()
    broken = True

    def commit(asked: list[int]) -> asyncio.Future[list[int]]:
        if broken:
            raise RuntimeError("no threads")
        return slow.commit(asked)

    group = GroupCommit(commit)
    with pytest.raises(RuntimeError, match="no threads"):
        await group.ask(1)
    broken = False
    answer = group.ask(2)
    await turn()
    slow.succeed()
    assert await answer == 20


async def test_a_caller_that_left_does_not_disturb_the_others() -> None:
    """Its operation is carried out with theirs."""
    slow = Slow()
    group = GroupCommit(slow.commit)
    left, stayed = group.ask(1), group.ask(2)
    left.cancel()
    await turn()
    assert slow.groups == [[1, 2]]
    slow.succeed()
    assert await stayed == 20
    gone = group.ask(3)
    await turn()
    gone.cancel()
    slow.ends[-1].set_exception(DatabaseUnavailableError("nobody hears this"))
    await turn()


async def test_no_transaction_is_larger_than_others_can_wait_for() -> None:
    """The rest goes into the next ones."""
    slow = Slow()
    group = GroupCommit(slow.commit)
    answers = [group.ask(number) for number in range(1_234)]
    for _ in range(3):
        await turn()
        slow.succeed()
    assert [len(asked) for asked in slow.groups] == [500, 500, 234]
    assert await asyncio.gather(*answers) == [10 * number for number in range(1_234)]


async def test_draining_answers_everything_and_takes_no_more() -> None:
    """What waits, too; also when it was asked in this very turn."""
    slow = Slow()
    group = GroupCommit(slow.commit)
    first = group.ask(1)
    await turn()
    second = group.ask(2)
    drained = asyncio.ensure_future(group.drain())
    await turn()
    assert not drained.done()
    slow.succeed()
    await turn()
    assert not drained.done()
    slow.succeed()
    await drained
    assert (first.result(), second.result()) == (10, 20)
    with pytest.raises(DatabaseUnavailableError, match="closed"):
        await group.ask(3)


async def test_draining_waits_for_what_was_asked_in_the_same_turn() -> None:
    """Its transaction has not even begun."""
    slow = Slow()
    group = GroupCommit(slow.commit)
    answer = group.ask(1)
    drained = asyncio.ensure_future(group.drain())
    await turn()
    slow.succeed()
    await drained
    assert answer.result() == 10


async def test_a_transaction_that_is_cancelled_is_a_database_that_is_gone() -> None:
    """Its callers are not cancelled with it."""
    slow = Slow()
    group = GroupCommit(slow.commit)
    answer = group.ask(1)
    await turn()
    slow.ends[-1].cancel()
    with pytest.raises(DatabaseUnavailableError, match="closed before"):
        await answer
