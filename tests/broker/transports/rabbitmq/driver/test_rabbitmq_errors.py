"""What RabbitMQ and its client library say, turned into sentences; no broker needed."""

from __future__ import annotations

import asyncio
import socket

import pytest

from effectmq.broker.transports.rabbitmq.driver.address import Address
from effectmq.broker.transports.rabbitmq.driver.errors import (
    channel_error,
    credentials_error,
    lost_error,
    mechanism_error,
    refused_error,
    silent_error,
    unreachable_error,
)
from effectmq.protocol.errors import (
    AccessRefusedError,
    BrokerError,
    BrokerUnreachableError,
    ReplyQueueInUseError,
    TopologyError,
    VirtualHostError,
)

BROKER = Address(host="broker.example", port=5672, vhost="prod", tls=False)
TLS_BROKER = Address(host="broker.example", port=5671, vhost="prod", tls=True)

INEQUIVALENT = (
    "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'effects.work.tool_call' "
    "in vhost 'prod': received the value '20' of type 'signedint' but current is the value '7' of "
    "type 'long'"
)


def test_a_difference_of_arguments_names_object_argument_both_values_and_the_fix() -> None:
    """Nobody should have to read the broker's log to find out which setting differs."""
    error = channel_error(406, INEQUIVALENT, "declaring queue 'effects.work.tool_call'")

    assert isinstance(error, TopologyError)
    for part in (
        "queue 'effects.work.tool_call'",
        "'x-delivery-limit'",
        "it has '7', expected '20'",
        "rabbitmqctl delete_queue --vhost prod effects.work.tool_call",
        "effectmq topology apply",
    ):
        assert part in str(error)


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        ("received 'topic' but current is 'direct'", "it has 'direct', expected 'topic'"),
        (
            "received none but current is the value '5' of type 'signedint'",
            "it has '5', expected none",
        ),
        (
            "received the value 'quorum' of type 'longstr' but current is none",
            "it has none, expected 'quorum'",
        ),
        ("something else altogether", "something else altogether"),
    ],
)
def test_each_form_of_a_difference_is_read(difference: str, sentence: str) -> None:
    """An argument can differ, be there too much, or be missing; an unknown form is quoted."""
    text = f"inequivalent arg 'x' for queue 'q' in vhost '/': {difference}"

    assert sentence in str(channel_error(406, text, "declaring queue 'q'"))


def test_an_exchange_of_another_type_is_not_deleted_like_a_queue() -> None:
    """The advice names a command that exists."""
    text = (
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'effects.work' in vhost '/': "
        "received 'direct' but current is 'fanout'"
    )

    error = channel_error(406, text, "declaring exchange 'effects.work'")

    assert "it has 'fanout', expected 'direct'" in str(error)
    assert "rabbitmqadmin delete exchange name=effects.work" in str(error)
    assert "rabbitmqctl" not in str(error)


def test_another_precondition_is_quoted() -> None:
    """What has no rule of its own is passed on in the broker's words."""
    text = "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'q' in vhost '/'"

    error = channel_error(406, text, "declaring queue 'q'")

    assert isinstance(error, TopologyError)
    assert text in str(error)


@pytest.mark.parametrize(
    ("code", "text", "kind", "hint"),
    [
        (
            403,
            "ACCESS_REFUSED - queue 'effects.reply.p1' in vhost '/' in exclusive use",
            ReplyQueueInUseError,
            "give each its own",
        ),
        (
            405,
            "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'effects.reply.p1'",
            ReplyQueueInUseError,
            "effects.reply.p1",
        ),
        (
            403,
            "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'worker'",
            AccessRefusedError,
            "with a READ that matches 'q'",
        ),
        (
            403,
            "ACCESS_REFUSED - write access to exchange 'x y' in vhost 'v 1' refused for user 'u'",
            AccessRefusedError,
            "rabbitmqctl set_permissions -p 'v 1' u CONFIGURE WRITE READ, with a WRITE",
        ),
        (
            403,
            "ACCESS_REFUSED - access to topic 'a.b' in exchange 'x' in vhost '/' refused for user "
            "'u'",
            AccessRefusedError,
            "rabbitmqctl set_topic_permissions -p / u x WRITE READ",
        ),
        (403, "ACCESS_REFUSED - because", AccessRefusedError, "Give the user permission"),
        (530, "NOT_ALLOWED - queue limit", BrokerError, "list_vhost_limits"),
        (540, "NOT_IMPLEMENTED - immediate=true", BrokerError, "RabbitMQ 3.10 or later"),
        (404, "NOT_FOUND - no queue 'q' in vhost '/'", TopologyError, "Start a worker"),
        (541, "INTERNAL_ERROR", BrokerError, "541"),
    ],
)
def test_each_refusal_of_a_channel_has_its_type_and_its_advice(
    code: int, text: str, kind: type[BrokerError], hint: str
) -> None:
    """A program can branch on the type, a person can act on the sentence."""
    error = channel_error(code, text, "consuming from 'q'", "consume")

    assert type(error) is kind
    assert str(error).startswith("consuming from 'q'")
    assert text in str(error)
    assert hint in str(error)


@pytest.mark.parametrize(
    ("code", "text", "kind", "hint"),
    [
        (530, "NOT_ALLOWED - vhost prod not found", VirtualHostError, "add_vhost"),
        (
            530,
            "NOT_ALLOWED - access to vhost 'prod' refused for user 'guest'",
            VirtualHostError,
            "set_permissions",
        ),
        (
            530,
            "NOT_ALLOWED - access to vhost 'prod' refused for user 'guest': connection limit (0) "
            "is reached",
            BrokerUnreachableError,
            "set_vhost_limits",
        ),
        (541, "INTERNAL_ERROR - vhost 'prod' is down", BrokerUnreachableError, "restart_vhost"),
        (0, "", VirtualHostError, "'prod'"),
        (320, "CONNECTION_FORCED - shutdown", BrokerUnreachableError, "320"),
    ],
)
def test_each_end_of_a_greeting_has_its_type_and_its_advice(
    code: int, text: str, kind: type[BrokerError], hint: str
) -> None:
    """A vhost can be missing, closed to the user, full or down: four different remedies."""
    error = refused_error(BROKER, code, text)

    assert type(error) is kind
    assert "broker.example:5672" in str(error)
    assert text in str(error)
    assert hint in str(error)


@pytest.mark.parametrize(
    ("failure", "hint"),
    [
        (socket.gaierror(-2, "Name or service not known"), "does not resolve"),
        (ConnectionRefusedError(111, "Connect call failed"), "nothing listens"),
        (TimeoutError(), "no answer in time"),
        (OSError(110, "Connection timed out"), "no answer in time"),
        (asyncio.CancelledError(), "no answer in time"),
        (ConnectionResetError(104, "Connection reset by peer"), "amqps://"),
        (asyncio.IncompleteReadError(b"", 1), "hung up during the greeting"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed"), "nothing listens"),
        (OSError(113, "Connect call failed"), "No route to host"),
        (RecursionError("maximum depth"), "maximum depth"),
    ],
)
def test_each_way_of_not_connecting_has_a_sentence(failure: BaseException, hint: str) -> None:
    """Refused, resolved, dropped and hung up need different people to act."""
    error = unreachable_error(BROKER, failure)

    assert type(error) is BrokerUnreachableError
    assert str(error).startswith("no connection to the broker at broker.example:5672: ")
    assert hint in str(error)


def test_a_hang_up_on_a_tls_line_suggests_the_plain_one() -> None:
    """Reset by peer is what both mix-ups of ports look like, so both are named."""
    text = str(unreachable_error(TLS_BROKER, ConnectionResetError("reset by peer")))

    assert "amqp://" in text
    assert "client certificate" in text


def test_silence_and_loss_say_what_was_being_done() -> None:
    """The same call can fail in two ways, and neither says only 'timeout'."""
    assert "declaring queue 'q': the broker at broker.example:5672 did not answer within 10 s" in (
        str(silent_error(BROKER, "declaring queue 'q'", 10.0))
    )
    text = str(lost_error(BROKER, "declaring queue 'q'", "CONNECTION_FORCED - shutdown"))
    assert "lost (CONNECTION_FORCED - shutdown)" in text


def test_a_login_that_the_broker_does_not_offer_is_named() -> None:
    """``auth=external`` needs a plug-in on the broker."""
    error = mechanism_error(BROKER, "PLAIN AMQPLAIN")

    assert isinstance(error, AccessRefusedError)
    assert "PLAIN AMQPLAIN" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "cannot use amqp://guest:hunter2@host/",
        "amqps://a:hunter2@x/ and amqp://b:hunter2@y/",
        "amqp://user:p/hunter2@host",
    ],
)
def test_no_sentence_quotes_a_password(text: str) -> None:
    """Whatever is quoted from below is scrubbed first."""
    errors = [
        credentials_error(BROKER, text),
        channel_error(541, text, "x"),
        refused_error(BROKER, 541, text),
        unreachable_error(BROKER, OSError(text)),
        lost_error(BROKER, "x", text),
    ]

    assert not [error for error in errors if "hunter2" in str(error)]


def test_what_is_quoted_is_one_short_printable_line() -> None:
    """A name that somebody chose must not move the cursor of a terminal, or fill a log."""
    text = str(channel_error(404, "no queue '\x1b[2Jx\n\n\ty'" + "z" * 1_000, "looking"))

    assert text.isprintable()
    assert "no queue '[2Jx y'" in text.replace(" [2J", "[2J")
    assert len(text) < 600
