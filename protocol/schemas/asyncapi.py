"""
The AsyncAPI 3 document: exchanges, queues and messages, as a worker sees them.

Names are those of the default namespace; in another one, its prefix replaces ``effects``.
"""

from __future__ import annotations

from typing import Any

from effectmq.protocol.encoding.content_types import JSON, MSGPACK
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.chosen.priority import PRIORITIES
from effectmq.protocol.messages.chunk import CHUNK_TYPE
from effectmq.protocol.messages.reply import OUTCOME_TYPE
from effectmq.protocol.messages.request import ENVELOPE_TYPE
from effectmq.protocol.schemas.bodies import ANSWERS, CHUNK, ENVELOPE
from effectmq.protocol.topology import DEFAULT_NAMESPACE, Names

__all__ = ["ASYNCAPI", "asyncapi_document"]

ASYNCAPI = "asyncapi.json"

_Tree = dict[str, Any]

_VERSION = "3.0.0"
#: AsyncAPI names a dialect by its year and month.
_SCHEMA_FORMAT = "application/schema+json;version=2020-12"
_BINDING = "0.3.0"

#: The headers that a producer may set; the pipeline sets the others itself.
_HEADERS: _Tree = {
    names.HASH: {
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
        "description": "SHA-256 of the canonical envelope; checked when present.",
    },
    names.REPLAY_KEY: {
        "type": "string",
        "description": "The replay key, for reading without decoding.",
    },
    names.SCOPE: {
        "type": "string",
        "description": "The effect scope as JSON, when it is not derived from the invocation.",
    },
    names.TENANT: {
        "type": "string",
        "maxLength": names.MAX_TENANT_BYTES,
        "description": "For whom the effect is done; at most 128 bytes of printable text.",
    },
    names.VERSION: {
        "type": "string",
        "maxLength": names.MAX_VERSION_BYTES,
        "description": "The version of workers that the effect is bound to.",
    },
    names.PRIORITY: {
        "enum": list(PRIORITIES),
        "description": "Which of the effects that wait is taken first; anything else is normal.",
    },
    names.DEADLINE: {
        "type": "integer",
        "description": "The deadline of the outcome; milliseconds since the Unix epoch.",
    },
    names.NOT_BEFORE: {
        "type": "integer",
        "description": "No worker begins it before; milliseconds since the Unix epoch.",
    },
    names.DEBOUNCE: {
        "type": "string",
        "minLength": 1,
        "maxLength": names.MAX_DEBOUNCE_BYTES,
        "description": "Of the effects with this key that are asked for within the delay of the "
        "one before, only the last runs; at most 128 bytes of printable text.",
    },
    names.DEBOUNCE_AT: {
        "type": "integer",
        "description": "When it was asked for; milliseconds since the Unix epoch. The delay is "
        "from here to effect-not-before.",
    },
    names.DEBOUNCE_MAX: {
        "type": "integer",
        "description": "For how long others may take its place, from the first of them on, in "
        "milliseconds; 0 for no limit.",
    },
    names.TRACEPARENT: {"type": "string", "description": "W3C trace context, passed on."},
    names.TRACESTATE: {"type": "string", "description": "W3C trace state, passed on."},
    names.LAST_ATTEMPT: {
        "type": "string",
        "description": "W3C trace context of the last attempt; workers set it.",
    },
}


def asyncapi_document() -> _Tree:
    """The whole document; it refers to the schemas of the bodies by their file names."""
    return {
        "asyncapi": _VERSION,
        "info": {
            "title": "effectmq",
            "version": "1",
            "description": "Effects of agent runtimes on their way to workers, and their outcomes.",
        },
        "defaultContentType": JSON,
        "servers": {"broker": {"host": "localhost:5672", "protocol": "amqp"}},
        "channels": {"work": _work(), "replies": _replies()},
        "operations": {"carryOut": _carry_out(), "stream": _stream()},
        "components": {
            "messages": {
                "envelope": _message(ENVELOPE_TYPE, ENVELOPE, "One effect to carry out."),
                "answers": _message(OUTCOME_TYPE, ANSWERS, "One or more outcomes."),
                "chunk": _message(CHUNK_TYPE, CHUNK, "A piece of text while a model answers."),
            }
        },
    }


def _work() -> _Tree:
    exchange = Names(DEFAULT_NAMESPACE).work_exchange
    return {
        "address": "{route}",
        "title": "The exchange to which effects are published",
        "description": (
            f"The routing key on the direct exchange {exchange}: the kind of the effect, or the "
            "kind, a dot and a lane."
        ),
        "parameters": {
            "route": {"examples": list(EFFECT_KINDS), "description": "A kind, or kind.lane."}
        },
        "messages": {"envelope": {"$ref": "#/components/messages/envelope"}},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": exchange,
                    "type": "direct",
                    "durable": True,
                    "autoDelete": False,
                },
                "bindingVersion": _BINDING,
            }
        },
    }


def _replies() -> _Tree:
    return {
        "address": None,
        "title": "The queue that a request names in reply_to",
        "description": "Published to on the default exchange; the producer declares it.",
        "messages": {
            "answers": {"$ref": "#/components/messages/answers"},
            "chunk": {"$ref": "#/components/messages/chunk"},
        },
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": {"durable": True, "exclusive": False, "autoDelete": False},
                "bindingVersion": _BINDING,
            }
        },
    }


def _carry_out() -> _Tree:
    return {
        "action": "receive",
        "channel": {"$ref": "#/channels/work"},
        "summary": "A worker carries an effect out and answers it, once or more often.",
        "messages": [{"$ref": "#/channels/work/messages/envelope"}],
        "bindings": {"amqp": {"ack": True, "bindingVersion": _BINDING}},
        "reply": {
            "address": {
                "location": "$message.header#/reply_to",
                "description": "The AMQP property reply_to of the request.",
            },
            "channel": {"$ref": "#/channels/replies"},
            "messages": [{"$ref": "#/channels/replies/messages/answers"}],
        },
    }


def _stream() -> _Tree:
    return {
        "action": "send",
        "channel": {"$ref": "#/channels/replies"},
        "summary": "A worker sends the text of a model so far; chunks may be missing.",
        "messages": [{"$ref": "#/channels/replies/messages/chunk"}],
    }


def _message(type_: str, schema: str, summary: str) -> _Tree:
    message: _Tree = {
        "name": type_,
        "summary": summary,
        "contentType": JSON,
        "description": f"As {JSON}, or as {MSGPACK} of the same tree.",
        "payload": {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": f"./{schema}"}},
        "bindings": {"amqp": {"messageType": type_, "bindingVersion": _BINDING}},
    }
    if type_ == ENVELOPE_TYPE:
        message["headers"] = {"type": "object", "properties": _HEADERS}
        message["correlationId"] = {"location": "$message.header#/correlation_id"}
    return message
