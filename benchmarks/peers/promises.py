"""
What each library promises as it is measured.

Each is set up as its own pages show it first. Where they know how to promise more, it is measured
once more with all of that: the names with ``CAREFUL``.
"""

from __future__ import annotations

__all__ = ["CAREFUL", "PACKAGES", "PROMISES", "sides_of"]

#: What to install for each.
PACKAGES = {
    "celery": ["celery[redis]>=5.5"],
    "dramatiq": ["dramatiq[rabbitmq,redis]>=1.17"],
    "taskiq": ["taskiq-aio-pika>=0.6", "taskiq-redis>=1.0"],
    "faststream": ["faststream[rabbit,cli]>=0.5"],
}

#: The end of a name that is set up as carefully as its pages know how.
CAREFUL = ", careful"

PROMISES = {
    "ours": "quorum queues, persistent, confirmed and acknowledged after the answer is confirmed; "
    "hash checked at both ends, retry, dead letters with a reason, one outcome per key with a "
    "journal",
    "plain": "quorum queues, persistent, confirmed and acknowledged after the answer is confirmed; "
    "nothing is checked, retried or kept",
    "celery": "durable classic queue, persistent; acknowledged before the task runs and published "
    "without confirms, so a crash or a lost connection loses tasks; results in Redis for a day",
    f"celery{CAREFUL}": "quorum queue, persistent, confirmed (`confirm_publish`), acknowledged "
    "after the task (`task_acks_late`, `task_reject_on_worker_lost`); results in Redis for a day",
    "dramatiq": "durable classic queue, persistent, acknowledged after the task; published without "
    "confirms, so a lost connection loses tasks; retries; results in Redis for ten minutes",
    f"dramatiq{CAREFUL}": "durable classic queue, persistent, confirmed (`confirm_delivery`), "
    "acknowledged after the task; retries; results in Redis for ten minutes",
    "taskiq": "quorum queue, persistent and confirmed, acknowledged when the result is saved, all "
    "of it from the start; results in Redis, which the client asks again and again",
    "faststream": "durable classic queue, persistent and confirmed; the answer comes by direct "
    "reply-to, which nothing keeps: a client or a node that goes away loses it",
    f"faststream{CAREFUL}": "quorum queues for requests and answers, persistent and confirmed, "
    "acknowledged after the answer is confirmed; nothing is checked, retried or kept",
}


def sides_of(peer: str) -> list[str]:
    """The names under which a library is measured."""
    return [name for name in (peer, f"{peer}{CAREFUL}") if name in PROMISES]
