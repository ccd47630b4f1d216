"""
Whether a server still knows the line on which a call went wrong. Pure.

A server that has forgotten a session may say so in any words, or in none. What it says to a call is
compared with what it says to questions that have nothing to do with any tool, and that it has
answered before, or has to.

=============  ========================================================  ==========================
verdict        when                                                      what follows
=============  ========================================================  ==========================
``alive``      it answers them, or its refusal says nothing of the line  the failure is the call's
``forgotten``  it refuses them as it refused the call, unread            the call, on another line
``dead``       it does not answer them, or what it refused may have run  the next call, on another
=============  ========================================================  ==========================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from effectmq.consumers.tools.mcp.messages import Trouble

__all__ = ["Refusal", "Verdict", "known", "refused_unread", "says_nothing", "verdict"]

Verdict = Literal["alive", "forgotten", "dead"]

_NOT_FOUND = 404
#: The server stumbled, and nobody knows when.
_INTERNAL_ERROR = -32603
#: Of the request or of what stands before the server, not of a session.
_OTHER_REASONS = frozenset({408, 413, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    How a request was not answered well.

    Attributes:
        trouble: Why.
        code: Of the JSON-RPC error; 0 for none.
    """

    trouble: Trouble
    code: int = 0


def known(call: Refusal | None, *, in_session: bool) -> Verdict | None:
    """
    What can be told without asking the server.

    Args:
        call: ``None`` when nobody waited for the end of the call.
        in_session: Whether the line has a session.
    """
    if call is None or call.trouble.origin == "lost":
        return None
    if not in_session or says_nothing(call):
        return "alive"
    trouble = call.trouble
    if trouble.origin == "http" and trouble.in_session and trouble.status == _NOT_FOUND:
        # The one way that the protocol has.
        return "forgotten"
    return None


def refused_unread(call: Refusal | None) -> bool:
    """Whether nothing was called, if the session turns out to be forgotten."""
    if call is None:
        return False
    if call.trouble.origin == "http":
        return 400 <= call.trouble.status < 500
    return call.trouble.origin == "answer" and call.code != _INTERNAL_ERROR


def says_nothing(refusal: Refusal) -> bool:
    """Whether a refusal has nothing to do with the line."""
    return refusal.trouble.origin == "http" and refusal.trouble.status in _OTHER_REASONS


def verdict(call: Refusal | None, questions: Iterable[Refusal]) -> Verdict:
    """
    What follows when the server has refused every question, too.

    Args:
        call: ``None`` when nobody waited for the end of the call.
        questions: How each of them was refused.
    """
    if call is None or not refused_unread(call):
        return "dead"
    return "forgotten" if any(_alike(call, one) for one in questions) else "dead"


def _alike(call: Refusal, question: Refusal) -> bool:
    if question.trouble.origin == "http":
        return 400 <= question.trouble.status < 500
    # Words may name the request, so the same code is enough.
    return question.trouble.origin == "answer" and question.code == call.code
