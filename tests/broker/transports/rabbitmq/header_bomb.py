"""A message that AMQP allows and the Python client cannot read: tables nested hundreds deep."""

from __future__ import annotations

import struct
from typing import cast

import aiormq
import aiormq.abc
import pamqp.body
import pamqp.commands
import pamqp.frame

__all__ = ["publish_bomb"]

_HEADERS_FLAG = 1 << 13
_BASIC = 60
_HEADER_FRAME = 2


async def publish_bomb(url: str, exchange: str, routing_key: str, depth: int = 500) -> None:
    """Publish it, with frames of our own making, since the client cannot write it either."""
    body = b"bomb"
    connection = cast("aiormq.Connection", await aiormq.connect(url))
    channel = cast("aiormq.Channel", await connection.channel())
    number = channel.number
    publish = pamqp.commands.Basic.Publish(exchange=exchange, routing_key=routing_key)
    properties = struct.pack(">HHQH", _BASIC, 0, len(body), _HEADERS_FLAG) + _nested(depth)
    frames = [
        pamqp.frame.marshal(publish, number),
        struct.pack(">BHI", _HEADER_FRAME, number, len(properties)) + properties + b"\xce",
        pamqp.frame.marshal(pamqp.body.ContentBody(body), number),
    ]
    payload = b"".join(frames)
    await connection.write_queue.put(aiormq.abc.ChannelFrame(payload=payload, should_close=False))
    # A request behind them on the same channel: answered when the broker has seen them.
    await channel.queue_declare(passive=True, queue=exchange)
    await connection.close()


def _nested(depth: int) -> bytes:
    table = b""
    for _ in range(depth):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    return struct.pack(">I", len(table)) + table
