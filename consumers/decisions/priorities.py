"""Whether an effect waits in the queue of its priority."""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.protocol.messages.chosen.priority import NORMAL, Priority
from effectmq.protocol.messages.request import Request

__all__ = ["ToPriority", "waits_apart"]


@dataclass(frozen=True, slots=True)
class ToPriority:
    """An effect goes to the queue of its priority, and waits there for its turn."""

    priority: Priority


def waits_apart(request: Request, here: str, returns: int) -> ToPriority | None:
    """
    Whether an effect that arrived in a shared queue belongs to the queue of its priority.

    Args:
        request: What arrived.
        here: The priority of the queue that it arrived in. In that of a priority it stays, whatever
            its header says.
        returns: How often the broker had it back. What has begun stays where it is: it has had its
            turn, and its deaths are counted here.
    """
    if request.priority == NORMAL or here != NORMAL or request.attempt > 1 or returns:
        return None
    return ToPriority(request.priority)
