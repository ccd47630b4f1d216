"""Names and arguments of exchanges and queues."""

from __future__ import annotations

import pytest

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.topology import (
    DEFAULT_DELAY_LEVELS_MS,
    Binding,
    Exchange,
    Names,
    Queue,
    Topology,
    TopologySettings,
    reply_topology,
    shared_topology,
    work_topology,
)

SETTINGS = TopologySettings(namespace="ns", delay_levels_ms=(1_000, 5_000))

#: What RabbitMQ 3.10 to 4.3 all accept on a quorum queue, and understand alike.
QUORUM_ARGUMENTS = {
    "x-queue-type",
    "x-delivery-limit",
    "x-dead-letter-exchange",
    "x-dead-letter-strategy",
    "x-overflow",
    "x-message-ttl",
    "x-max-length",
}


def queues(topology: Topology) -> dict[str, Queue]:
    """By name."""
    return {queue.name: queue for queue in topology.queues}


def test_a_kind_and_a_lane_each_have_a_queue_bound_by_their_route() -> None:
    """The routing key is the kind, or ``kind.lane``."""
    topology = work_topology(SETTINGS, ["tool_call", "tool_call.slow"])
    assert topology.exchanges == (Exchange("ns.work", "direct"),)
    assert list(queues(topology)) == ["ns.work.tool_call", "ns.work.tool_call.slow"]
    assert topology.bindings == (
        Binding("ns.work", "ns.work.tool_call", "tool_call"),
        Binding("ns.work", "ns.work.tool_call.slow", "tool_call.slow"),
    )


def test_work_queues_are_quorum_with_a_positive_limit_and_dead_letters_that_cannot_be_lost() -> (
    None
):
    """At-least-once dead-lettering is active only together with ``reject-publish``."""
    (queue,) = work_topology(SETTINGS, ["sleep"]).queues
    assert queue.arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 20,
        "x-dead-letter-exchange": "ns.limbo",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def test_a_length_limit_is_declared_only_when_it_was_chosen() -> None:
    """Arguments are immutable, so what an operator may want to tune is left to policies."""
    limited = TopologySettings(namespace="ns", max_length=7)
    (queue,) = work_topology(limited, ["sleep"]).queues
    assert queue.arguments["x-max-length"] == 7


def test_delay_levels_come_home_by_the_messages_own_key() -> None:
    """No dead-letter routing key, so that one level serves every kind and lane."""
    topology = shared_topology(SETTINGS)
    level = queues(topology)["ns.delay.5000"]
    assert level.arguments["x-message-ttl"] == 5_000
    assert level.arguments["x-dead-letter-exchange"] == "ns.work"
    assert "x-dead-letter-routing-key" not in level.arguments
    assert Exchange("ns.delay.5000", "fanout") in topology.exchanges
    assert Binding("ns.delay.5000", "ns.delay.5000", "") in topology.bindings


def test_limbo_goes_to_dead_and_dead_keeps_everything() -> None:
    """The dead queue is browsed by taking and giving back, which counts on some versions."""
    topology = shared_topology(SETTINGS)
    found = queues(topology)
    assert found["ns.limbo"].arguments["x-dead-letter-exchange"] == "ns.dead"
    assert found["ns.dead"].arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 2**31 - 1,
    }
    assert Exchange("ns.dead", "topic") in topology.exchanges
    assert Binding("ns.dead", "ns.dead", "#") in topology.bindings
    assert Binding("ns.limbo", "ns.limbo", "") in topology.bindings


def test_a_reply_queue_lives_for_seven_days_without_its_producer() -> None:
    """Replies wait for a producer that restarts."""
    (queue,) = reply_topology(SETTINGS, "p1").queues
    assert queue.name == "ns.reply.p1"
    assert queue.arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 2**31 - 1,
        "x-expires": 604_800_000,
    }


def test_everything_is_declared_with_arguments_that_every_release_understands() -> None:
    """A broker stores an unknown argument without a word and demands it back for ever."""
    topology = work_topology(SETTINGS, EFFECT_KINDS) | shared_topology(SETTINGS)
    for queue in topology.queues:
        assert queue.arguments["x-queue-type"] == "quorum"
        assert queue.arguments.keys() <= QUORUM_ARGUMENTS
        assert isinstance(queue.arguments["x-delivery-limit"], int)
        assert queue.arguments["x-delivery-limit"] >= 1
    exchanges = {exchange.name for exchange in topology.exchanges}
    for queue in topology.queues:
        assert queue.arguments.get("x-dead-letter-exchange", "ns.work") in exchanges
    for binding in topology.bindings:
        assert binding.exchange in exchanges
        assert binding.queue in queues(topology)


def test_joining_topologies_keeps_each_object_once_in_order() -> None:
    """Declaring twice the same costs a round trip and says nothing."""
    work, shared = work_topology(SETTINGS, ["sleep"]), shared_topology(SETTINGS)
    both = work | shared | work
    assert both.exchanges[0] == Exchange("ns.work", "direct")
    assert len(set(both.exchanges)) == len(both.exchanges)
    assert len(queues(both)) == len(both.queues) == len(work.queues) + len(shared.queues)
    assert len(set(both.bindings)) == len(both.bindings)


def test_the_default_levels_go_from_a_second_to_an_hour() -> None:
    """Retry waits and long sleeps are made of these."""
    assert DEFAULT_DELAY_LEVELS_MS[0] == 1_000
    assert DEFAULT_DELAY_LEVELS_MS[-1] == 3_600_000
    assert list(DEFAULT_DELAY_LEVELS_MS) == sorted(set(DEFAULT_DELAY_LEVELS_MS))


@pytest.mark.parametrize(
    "settings",
    [
        {"namespace": ""},
        {"namespace": "a b"},
        {"namespace": ".a"},
        {"namespace": "a/b"},
        {"namespace": "é"},
        {"namespace": "amq.mine"},
        {"namespace": "shop.reply"},
        {"namespace": "shop.work.tool_call"},
        {"namespace": "shop.eu.control"},
        {"namespace": "x" * 201},
        {"delay_levels_ms": ()},
        {"delay_levels_ms": (0, 5)},
        {"delay_levels_ms": (5, 5)},
        {"delay_levels_ms": (9, 5)},
        {"delay_levels_ms": (2**32,)},
        {"delivery_limit": 0},
        {"delivery_limit": -1},
        {"reply_expires_ms": 0},
        {"reply_expires_ms": 2**32},
        {"max_length": 0},
    ],
)
def test_a_setting_that_a_broker_would_refuse_is_refused_first(settings: dict[str, object]) -> None:
    """With a sentence that names the setting and what was found."""
    (name,) = settings
    with pytest.raises(ConfigurationError, match=name):
        TopologySettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "#", "*", ".x", "a\n", "\ud800", "x" * 201])
def test_a_name_that_no_queue_can_have_is_refused_with_a_sentence(name: str) -> None:
    """The client library would refuse it later, with a bare ValueError."""
    names = Names("ns")
    with pytest.raises(ConfigurationError, match="route"):
        names.work_queue(name)
    with pytest.raises(ConfigurationError, match="producer identity"):
        names.reply_queue(name)


def test_names_that_are_too_long_only_together_are_refused_too() -> None:
    """AMQP names have at most 255 bytes, whatever they are made of."""
    names = Names("n" * 150)
    with pytest.raises(ConfigurationError, match="255"):
        names.work_queue("r" * 150)
    with pytest.raises(ConfigurationError, match="255"):
        names.reply_queue("p" * 150)
    assert len(names.reply_queue("p" * 98)) == 255


def test_names_of_a_namespace() -> None:
    """What operators see in their lists."""
    names = Names("my.app")
    assert names.work_exchange == "my.app.work"
    assert names.work_queue("llm_call") == "my.app.work.llm_call"
    assert names.delay(1_000) == "my.app.delay.1000"
    assert (names.limbo, names.dead) == ("my.app.limbo", "my.app.dead")
    assert names.reply_queue("host-1") == "my.app.reply.host-1"
    with pytest.raises(ConfigurationError, match="namespace"):
        Names("a b")


def test_no_two_namespaces_have_a_name_in_common() -> None:
    """Whatever producers, workers and lanes are called: what could be another's is refused."""
    for role in ("work", "delay", "limbo", "dead", "reply", "control"):
        with pytest.raises(ConfigurationError, match="queues of the namespace 'shop' have such"):
            Names(f"shop.{role}")
        assert Names(role).dead == f"{role}.dead"
    theirs = Names("shop.test")
    for mine in (Names("shop").reply_queue("test.reply.p"), Names("shop").control_queue("test.w")):
        assert mine not in (theirs.reply_queue("p"), theirs.control_queue("w"))
