"""What the processes of a side are told: one line of JSON on their command line."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol, Self

__all__ = ["Answer", "Asking", "Kind", "Spec", "Uses"]

#: What is asked for. ``tool``: a tool measures a text, and its outcome has the arguments again.
#: ``echo``: a tool returns the text. ``model``: a model answers a long context with a word.
Kind = Literal["tool", "echo", "model"]
#: What plain aio-pika answers: the body of the request, or a few bytes.
Answer = Literal["same", "small"]
#: What an application uses besides: a limit or a ceiling that never binds, a schedule that never
#: fires, or effects that begin a moment later.
Uses = Literal["", "limit", "ceiling", "schedule", "later"]


@dataclass(frozen=True)
class Spec:
    """
    One side of a comparison.

    Attributes:
        side: A name of ``sides.known``.
        body_bytes: Of the request's body on the wire.
        in_flight: Calls at a time.
        prefetch: What one worker takes at a time.
        workers: How many worker processes.
        uvloop: Whether client and worker run on uvloop.
        python: The interpreter of both; this one by default.
        redis: The address of a Redis, for peers that keep results there.
        uses: What our side uses besides; empty for nothing.
        careful: Whether a peer is set up as carefully as its own pages know how.
    """

    side: str = "ours"
    broker: str = ""
    namespace: str = ""
    kind: Kind = "tool"
    answer: Answer = "same"
    body_bytes: int = 1024
    in_flight: int = 100
    prefetch: int = 100
    journal: str = "none"
    attachments: str = "none"
    traces: bool = False
    workers: int = 1
    uvloop: bool = False
    python: str = sys.executable
    redis: str = ""
    careful: bool = False
    uses: Uses = ""

    def but(self, **changes: Any) -> Spec:
        """The same with some changes."""
        return replace(self, **changes)

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> Spec:
        """Read that line."""
        return cls(**json.loads(line))


class Asking(Protocol):
    """
    The client of one side; an asynchronous context manager.

    One whose library blocks has ``call_blocking`` as well, see ``sliding``.
    """

    def prepare(self) -> Any:
        """What a caller has in hand before a round trip: a message or an envelope, a new one."""
        ...

    async def call(self, prepared: Any, /) -> None:
        """One round trip."""
        ...

    async def fill(self, count: int) -> None:
        """Publish so many requests that nobody waits for."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...
