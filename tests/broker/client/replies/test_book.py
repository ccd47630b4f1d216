"""Outcomes that arrive, and who waits for them."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest

from effectmq.broker.client.replies import book as answers
from effectmq.broker.client.replies.book import ReplyBook, ReplyKey, Waiter
from effectmq.protocol.errors import TransportClosedError
from effectmq.protocol.messages.reply import Reply
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSleep

KEY: ReplyKey = ("1", "k", "h")
LONG_S = 20.0


def reply(key: ReplyKey = KEY, attempt: int = 1) -> Reply:
    """An outcome for a key."""
    return Reply(*key, RuntimeEffectOutcomeSleep(), attempt=attempt)


class Book(ReplyBook):
    """An open book with its counters."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        super().__init__(self.counters)
        self.open()


@pytest.fixture
def book() -> Book:
    """An open one."""
    return Book()


async def waiting(waiter: Waiter, timeout: float | None = None) -> asyncio.Task[Reply]:
    """A task that has begun to wait."""
    task = asyncio.create_task(waiter.wait(timeout))
    await asyncio.sleep(0)
    return task


async def test_an_outcome_goes_to_whoever_waits_for_it(book: Book) -> None:
    """Before or after it has come."""
    waiter = book.wait_for(KEY)
    task = await waiting(waiter)
    book.take(reply())
    assert await task == await waiter.wait(0) == waiter.answer == reply()
    assert book.counters == {"answered": 1}


async def test_everybody_who_asks_for_an_effect_shares_the_answer(book: Book) -> None:
    """And one of them that is cancelled leaves the others alone."""
    first, second = book.wait_for(KEY), book.wait_for(KEY)
    assert first is second
    tasks = [await waiting(first) for _ in range(3)]
    tasks[0].cancel()
    await asyncio.sleep(0)
    book.take(reply())
    assert await tasks[1] == await tasks[2] == reply()
    assert tasks[0].cancelled()
    assert book.counters["answered"] == 1


@pytest.mark.parametrize("other", [("2", "k", "h"), ("1", "l", "h"), ("1", "k", "i")])
async def test_effect_id_key_and_hash_must_all_agree(book: Book, other: ReplyKey) -> None:
    """An outcome of another envelope is no answer."""
    waiter = book.wait_for(KEY)
    book.take(reply(other))
    assert waiter.answer is None
    assert book.counters == {"unclaimed": 1}
    assert book.unclaimed() == [reply(other)]


async def test_what_nobody_asked_for_is_kept_for_who_asks_next(book: Book) -> None:
    """It was asked by an earlier process of the same identity."""
    book.take(reply(attempt=2))
    waiter = book.wait_for(KEY)
    assert waiter.answer == reply(attempt=2)
    assert book.unclaimed() == []
    assert book.counters == {"unclaimed": 1, "answered": 1}


async def test_a_second_outcome_for_an_answered_effect_is_a_duplicate(book: Book) -> None:
    """Counted and dropped; the first one stays."""
    waiter = book.wait_for(KEY)
    book.take(reply())
    book.take(reply(attempt=2))
    assert waiter.answer == reply()
    del waiter
    gc.collect()
    book.take(reply(attempt=3))
    assert book.counters == {"answered": 1, "duplicate": 2}
    assert book.unclaimed() == []


async def test_an_outcome_whose_caller_has_stopped_waiting_is_late(book: Book) -> None:
    """A timeout is too short, or workers are too few."""
    waiter = book.wait_for(KEY)
    with pytest.raises(TimeoutError):
        await waiter.wait(0.0)
    book.give_up(KEY)
    del waiter
    await asyncio.sleep(0)
    book.take(reply())
    assert book.counters == {"late": 1}, "without waiting for the garbage collector"


async def test_a_caller_that_waits_again_after_a_timeout_is_answered(book: Book) -> None:
    """Its handle is still there."""
    waiter = book.wait_for(KEY)
    with pytest.raises(TimeoutError):
        await waiter.wait(0.0)
    book.give_up(KEY)
    task = await waiting(waiter, LONG_S)
    book.take(reply())
    assert await task == reply()
    assert book.counters == {"answered": 1}


async def test_a_caller_that_goes_leaves_nothing_behind(book: Book) -> None:
    """Waiters live as long as their handles."""
    waiter = book.wait_for(KEY)
    task = await waiting(waiter)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert waiter.callers == []
    del waiter, task
    await asyncio.sleep(0)
    gc.collect()
    assert len(book._waiters) == 0
    book.take(reply())
    assert book.counters == {"unclaimed": 1}


async def test_what_is_remembered_is_bounded(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are kept; nothing grows without bound."""
    monkeypatch.setattr(answers, "_MAX_UNCLAIMED", 3)
    monkeypatch.setattr(answers, "_MAX_REMEMBERED", 3)
    keys = [(str(number), "k", "h") for number in range(5)]
    for key in keys:
        book.take(reply(key))
    assert [found.effect_id for found in book.unclaimed()] == ["2", "3", "4"]
    for key in keys:
        book.give_up(key)
        book.wait_for(key)
        book.take(reply(key))
    assert len(book._given_up) == len(book._answered) == 3


async def test_a_timeout_that_comes_too_late_changes_nothing(book: Book) -> None:
    """The answer and the end of patience in the same turn of the loop."""
    waiter = book.wait_for(KEY)
    task = await waiting(waiter, 0.0)
    (future,) = waiter.callers
    book.take(reply())
    answers._expire(future)
    assert await task == reply()


# Closing -----------------------------------------------------------------------------------------


async def test_closing_wakes_whoever_waits(book: Book) -> None:
    """Without a timeout they would wait for ever."""
    tasks = [await waiting(book.wait_for(KEY)), await waiting(book.wait_for(KEY), LONG_S)]
    book.close()
    for task in tasks:
        with pytest.raises(TransportClosedError, match="not open"):
            await task


async def test_a_closed_book_still_has_the_answers_that_came(book: Book) -> None:
    """And refuses to wait for others, until it is opened again."""
    there, missing = book.wait_for(KEY), book.wait_for(("2", "k", "h"))
    book.take(reply())
    book.close()
    book.check_open(there)
    with pytest.raises(TransportClosedError):
        book.check_open(missing)
    book.open()
    book.check_open(missing)


async def test_a_waiter_that_was_cancelled_is_not_woken(book: Book) -> None:
    """Cancelling and closing in the same turn of the loop."""
    waiter = book.wait_for(KEY)
    for end in (book.close, lambda: book.take(reply())):
        task = await waiting(waiter)
        for future in waiter.callers:
            future.cancel()
        end()
        with pytest.raises(asyncio.CancelledError):
            await task
