"""
A producer that knows pika and not effectmq: one tool call, and its outcome.

::

    pip install pika
    export EFFECTMQ_BROKER=amqp://guest:guest@localhost/
    python examples/producers/producer_pika.py add '{"a": 1, "b": 2}'

It prints the outcome as JSON. Exit code: 0 for an outcome, 1 when the effect failed or none came.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import pika
from wire import Place, canonical, hash_of, tool_call

WEEK_MS = 7 * 24 * 3_600_000
PATIENCE_S = 30.0

Channel = pika.adapters.blocking_connection.BlockingChannel


def reply_queue(channel: Channel, namespace: str, identity: str) -> str:
    """
    Declare the queue for answers, and say its name.

    It is durable and named after this producer, so that a producer that was restarted finds what
    came meanwhile. The arguments are those that effectmq's own client declares.
    """
    name = f"{namespace}.reply.{identity}"
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 2**31 - 1,
        "x-expires": WEEK_MS,
    }
    channel.queue_declare(name, durable=True, arguments=arguments)
    return name


def submit(channel: Channel, namespace: str, envelope: dict[str, Any], reply_to: str) -> None:
    """Publish one effect; it returns when the broker has it on disk."""
    subject = envelope["invocation"]["subject"]
    channel.basic_publish(
        exchange=f"{namespace}.work",
        routing_key=subject["kind"],
        body=canonical(envelope).encode(),
        properties=pika.BasicProperties(
            content_type="application/json",
            delivery_mode=pika.DeliveryMode.Persistent,
            type="effect.envelope.v1",
            correlation_id=subject["effect_id"],
            reply_to=reply_to,
            headers={"effect-hash": hash_of(envelope)},
        ),
        # Without it a kind that no worker has ever served would be dropped without a word.
        mandatory=True,
    )


def wait_for(channel: Channel, queue: str, envelope: dict[str, Any]) -> dict[str, Any]:
    """
    Take answers out of the queue until that of the envelope is among them.

    Raises:
        TimeoutError: When none came in time. The effect may still be carried out; the answer
            waits in the queue then.
    """
    expected = (
        envelope["invocation"]["subject"]["effect_id"],
        envelope["invocation"]["replay"]["key"],
        hash_of(envelope),
    )
    ends = time.monotonic() + PATIENCE_S
    for method, properties, body in channel.consume(queue, inactivity_timeout=1.0):
        if method is not None:
            found = matching(properties.type, body, expected)
            # Answers may come twice, and those to earlier questions may still be here.
            channel.basic_ack(method.delivery_tag)
            if found is not None:
                return found
        if time.monotonic() > ends:
            break
    raise TimeoutError(f"no outcome within {PATIENCE_S:g} s")


def matching(type_: str, body: bytes, expected: tuple[str, str, str]) -> dict[str, Any] | None:
    """The answer to one envelope, out of the list that a message holds."""
    if type_ != "effect.outcome.v1":
        return None  # Streamed text.
    for answer in json.loads(body):
        if (answer["effect_id"], answer["replay_key"], answer["hash"]) == expected:
            return answer
    return None


def main(tool: str, args: Any) -> int:
    """Ask, wait, print."""
    namespace = os.environ.get("EFFECTMQ_NAMESPACE", "effects")
    address = os.environ.get("EFFECTMQ_BROKER", "amqp://guest:guest@localhost/")
    envelope = tool_call(Place("example", "turn-1", number=1), "call-1", tool, args)
    try:
        connection = pika.BlockingConnection(pika.URLParameters(address))
    except pika.exceptions.AMQPConnectionError:
        sys.exit("the broker cannot be reached; EFFECTMQ_BROKER is its address")
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = reply_queue(channel, namespace, "producer-pika")
        submit(channel, namespace, envelope, queue)
        result = wait_for(channel, queue, envelope)["result"]
    except pika.exceptions.UnroutableError:
        sys.exit(f"no worker has ever served tool calls in the namespace {namespace}")
    except pika.exceptions.ChannelClosedByBroker as problem:
        # No worker has ever made the exchange, or this user may not use it.
        sys.exit(f"the broker refused: {problem.reply_text}")
    except TimeoutError as problem:
        sys.exit(str(problem))
    finally:
        connection.close()
    print(json.dumps(result, ensure_ascii=False))
    return 0 if "Ok" in result else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
