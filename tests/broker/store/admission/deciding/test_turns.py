"""Virtual time: who is next, whatever each has queued."""

from __future__ import annotations

import heapq
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effectmq.broker.store.admission.deciding.turns import VirtualTime
from effectmq.broker.store.admission.declared.keys import Turn
from effectmq.broker.store.admission.declared.shares import Share, share_of
from effectmq.protocol.errors import ConfigurationError

_COST = 1_000_000
_TENANTS = "abc"


class Queue:
    """Effects that wait, and start one by one."""

    def __init__(self, weights: dict[str, float]) -> None:
        share = Share("tool_call", weights=weights)
        self.turns = {who: share.turn(who, {}) for who in _TENANTS}
        self.time = VirtualTime(7)
        self.waiting: list[tuple[int, int, str]] = []
        self.nth = 0

    def enter(self, who: str) -> None:
        """One more waits."""
        self.nth += 1
        heapq.heappush(self.waiting, (self.time.place(self.turns[who]), self.nth, who))

    def start(self) -> str:
        """The next starts."""
        place, _, who = heapq.heappop(self.waiting)
        self.time.started(place)
        return who


_WEIGHTS = st.dictionaries(st.sampled_from(_TENANTS), st.sampled_from([0.5, 1, 2, 3, 10]))


@settings(deadline=None, max_examples=50)
@given(
    _WEIGHTS,
    st.lists(st.sampled_from(_TENANTS + "+++"), max_size=30),
    st.lists(st.integers(1, 20), min_size=3, max_size=3),
)
def test_who_has_effects_waiting_gets_its_weight(
    weights: dict[str, float], before: list[str], queued: list[int]
) -> None:
    """Nobody is left behind by more than one of its own effects, whatever happened before."""
    queue = Queue(weights)
    for step in before:
        if step != "+":
            queue.enter(step)
        elif queue.waiting:
            queue.start()
    for who, count in zip(_TENANTS, queued, strict=True):
        for _ in range(count):
            queue.enter(who)
    while queue.waiting:
        queue.start()
        first = {who: place for place, _, who in sorted(queue.waiting, reverse=True)}
        for who, place in first.items():
            assert 0 <= place - queue.time.now <= queue.turns[who].cost


def test_those_that_come_new_for_ever_leave_nobody_behind() -> None:
    """The second effect of one starts when about as many have started as waited before it."""
    share, time = Share("tool_call"), VirtualTime(7)
    waiting: list[tuple[int, str]] = []
    names = map(str, range(10_000))

    def enter(who: str) -> None:
        heapq.heappush(waiting, (time.place(share.turn(who, {})), who))

    for _ in range(50):
        enter(next(names))
    enter("twice")
    enter("twice")
    started: list[str] = []
    while started.count("twice") < 2:
        place, who = heapq.heappop(waiting)
        time.started(place)
        started.append(who)
        enter(next(names))
        assert len(started) < 500
    # Who has started its last one is forgotten.
    assert sum(end > time.now for end in time.ends.values()) <= len(waiting)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 1_000), st.integers(0, 50))
def test_who_comes_new_is_next(queued: int, started: int) -> None:
    """However many another has queued."""
    queue = Queue({})
    for _ in range(queued):
        queue.enter("a")
    for _ in range(min(started, queued)):
        queue.start()
    queue.enter("b")
    # At the same place as the one that would be next at most.
    assert "b" in [queue.start() for _ in range(min(2, len(queue.waiting)))]


def test_who_did_not_wait_has_saved_nothing_up() -> None:
    """One that comes back after a while takes turns, and does not catch up."""
    queue = Queue({})
    for _ in range(40):
        queue.enter("a")
    queue.enter("b")
    for _ in range(20):
        queue.start()
    for _ in range(40):
        queue.enter("b")
    started = [queue.start() for _ in range(20)]
    assert abs(started.count("a") - started.count("b")) <= 1


def test_a_higher_weight_costs_less() -> None:
    """By the value of the key."""
    share = Share("tool_call", weights={"big": 4, "small": 0.25})
    assert share.turn("big", {}) == Turn("big", _COST // 4)
    assert share.turn("small", {}) == Turn("small", 4 * _COST)
    assert share.turn("other", {}) == Turn("other", _COST)


@pytest.mark.parametrize(
    ("key", "tenant", "who"),
    [("tenant", "acme", "acme"), ("tenant", "", "s"), ("session", "acme", "s"), ("tool", "", "t")],
)
def test_an_effect_takes_the_turn_of_its_key(key: str, tenant: str, who: str) -> None:
    """Without a tenant that of its session."""
    tree = {
        "invocation": {"scope": {"session_id": "s"}},
        "command": {"call": {"tool_name": "t"}},
    }
    assert Share("tool_call", key).turn(tenant, tree).who == who


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"route": "nothing"}, "a share for 'nothing' holds for nothing"),
        ({"route": "sleep"}, "a sleep runs nowhere"),
        ({"route": "*", "key": "nobody"}, "a share cannot have the key 'nobody'"),
        ({"route": "*", "key": ""}, "a share needs a key"),
        ({"route": "*", "weights": {"a": 0}}, "the weight of 'a' is 0; expected a number"),
        ({"route": "*", "weights": {"a": True}}, "the weight of 'a' is True"),
        ({"route": "*", "weights": {"a": float("nan")}}, "the weight of 'a' is nan"),
        ({"route": "*", "weights": {"a": "3"}}, "the weight of 'a' is '3'"),
    ],
)
def test_a_share_that_cannot_hold_is_refused(said: dict[str, Any], found: str) -> None:
    """With what was found and what was expected."""
    with pytest.raises(ConfigurationError, match=found):
        Share(**said)


def test_the_narrowest_share_holds_for_a_route() -> None:
    """A lane's before its kind's before that of every kind; a sleep has none."""
    every, kind, lane = Share("*"), Share("tool_call"), Share("tool_call.gpu")
    shares = [kind, every, lane]
    assert share_of(shares, "tool_call.gpu") is lane
    assert share_of(shares, "tool_call.gpu@2") is lane
    assert share_of(shares, "tool_call") is kind
    assert share_of(shares, "llm_call") is every
    assert share_of(shares, "sleep") is None
    assert share_of([kind], "llm_call") is None
