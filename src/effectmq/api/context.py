"""What the handlers of requests work with; one for each application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from effectmq.api.access.guard import Access
from effectmq.api.access.tokens import Who
from effectmq.api.connections import Connections
from effectmq.api.operations import Operations
from effectmq.api.problems import ProblemError
from effectmq.api.views.events import Events
from effectmq.api.views.fleet import FleetLooks
from effectmq.api.views.letters import LetterLooks
from effectmq.api.views.overview import Overviews
from effectmq.api.views.streams import Streams

__all__ = ["Asking", "Context", "Here", "context_of"]


@dataclass(frozen=True, slots=True)
class Context:
    """
    What an application has, as ``app.state.effectmq``.

    Attributes:
        access: Who may do what.
        connections: Broker, journal, client.
        letters: Looks at dead letters.
        fleet: Looks at queues and workers.
        operations: What goes on for a while.
        overviews: Everything at one look.
        events: Says what has changed.
        streams: What running effects stream.
    """

    access: Access
    connections: Connections
    letters: LetterLooks
    fleet: FleetLooks
    operations: Operations
    overviews: Overviews
    events: Events
    streams: Streams


def context_of(request: Request) -> Context:
    """The context of the application that got a request."""
    context: Context = request.app.state.effectmq
    return context


def _who(request: Request) -> Who:
    who = request.state.who
    if not isinstance(who, Who):
        # The guard lets nobody through to here.
        raise ProblemError(401, "no_token", "a token is needed")
    return who


Here = Annotated[Context, Depends(context_of)]
Asking = Annotated[Who, Depends(_who)]
