"""The places for unanswered publishes: who gets the next one, and who no longer wants it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from effectmq.broker.transports.rabbitmq.window import Window

_PATIENCE_S = 30.0


class Sender:
    """What is sent when its turn comes."""

    def __init__(self, order: list[str], name: str, *, wants: bool = True) -> None:
        self._order = order
        self._name = name
        self._wants = wants

    def enter(self) -> bool:
        """Note it."""
        self._order.append(self._name)
        return self._wants


async def callers(window: Window, order: list[str], *names: str) -> list[asyncio.Task[None]]:
    """Tasks that wait for a place, in this order."""

    async def one(name: str) -> None:
        await window.wait(_PATIENCE_S)
        order.append(name)

    tasks = [asyncio.create_task(one(name)) for name in names]
    await asyncio.sleep(0)
    return tasks


async def test_who_came_first_goes_first_whatever_waits() -> None:
    """Coroutines and what is sent by itself stand in one queue."""
    window, order = Window(1), list[str]()
    window.free -= 1
    (first,) = await callers(window, order, "a")
    window.line_up(Sender(order, "b"))
    (third,) = await callers(window, order, "c")

    window.release()
    await first
    window.release()
    window.release()
    await third

    assert order == ["a", "b", "c"]
    assert window.free == 0


async def test_who_does_not_want_its_turn_any_more_is_passed_over() -> None:
    """And the place is free when nobody wants it."""
    window, order = Window(1), list[str]()
    window.free -= 1
    window.line_up(Sender(order, "a", wants=False))
    (second,) = await callers(window, order, "b")
    window.line_up(Sender(order, "c", wants=False))

    window.release()
    await second
    window.release()

    assert order == ["a", "b", "c"]
    assert window.free == 1


async def test_who_stops_waiting_leaves_the_queue() -> None:
    """Cancelled, withdrawn, or out of time: nothing of them remains."""
    window, order = Window(1), list[str]()
    window.free -= 1
    cancelled, kept = await callers(window, order, "cancelled", "kept")
    withdrawn = Sender(order, "withdrawn")
    window.line_up(withdrawn)
    late = asyncio.create_task(window.wait(0.001))

    cancelled.cancel()
    window.withdraw(withdrawn)
    window.withdraw(withdrawn)
    with pytest.raises(TimeoutError):
        await late
    assert len(window._waiting) == 1
    window.release()
    await kept
    window.release()

    assert order == ["kept"]
    assert (window.free, len(window._waiting)) == (1, 0)


async def test_a_place_given_to_somebody_cancelled_in_the_same_turn_goes_on() -> None:
    """Whichever of the two comes first."""
    window, order = Window(1), list[str]()
    window.free -= 1
    first, second, third = await callers(window, order, "first", "second", "third")

    window.release()
    first.cancel()
    await asyncio.wait((first,))
    await second
    third.cancel()
    window.release()
    await asyncio.wait((third,))

    assert first.cancelled()
    assert order == ["second"]
    assert window.free == 1


async def test_ten_thousand_callers_share_one_timer() -> None:
    """What waits is an entry, and costs the loop nothing."""
    window, order = Window(1), list[str]()
    window.free -= 1
    loop: Any = asyncio.get_running_loop()
    scheduled = len(loop._scheduled)
    tasks = await callers(window, order, *map(str, range(10_000)))

    assert len(loop._scheduled) <= scheduled + 1
    for _ in tasks:
        window.release()
    await asyncio.gather(*tasks)

    assert order == [*map(str, range(10_000))]
