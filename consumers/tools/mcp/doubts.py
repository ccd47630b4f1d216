"""
Whether a server still knows the session of a call that failed. Pure.

A server that has forgotten a session may say so in any words, or not at all. Its answer to the call
is compared with its answers to questions that have nothing to do with a tool, and that it has
answered before, or must answer.

=============  =========================================================  =========================
verdict        when                                                       then
=============  =========================================================  =========================
``alive``      it answers them, or its refusal is not about the session   the call has failed
``forgotten``  it refuses them as it refused the call, without reading    the call is repeated on
               it                                                         another line
``dead``       it does not answer them, or the refused call may have run  the next call uses another
                                                                          line
=============  =========================================================  =========================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from effectmq.consumers.tools.mcp.messages import Trouble

__all__ = ["Refusal", "Verdict", "known", "refused_unread", "says_nothing", "verdict"]

Verdict = Literal["alive", "forgotten", "dead"]

_NOT_FOUND = 404
#: The server failed at an unknown point.
_INTERNAL_ERROR = -32603
#: About the request, or about a proxy before the server, not about a session.
_OTHER_REASONS = frozenset({408, 413, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    A request without a good answer.

    Attributes:
        trouble: Why.
        code: The code of the JSON-RPC error; 0 for none.
    """

    trouble: Trouble
    code: int = 0


def known(call: Refusal | None, *, in_session: bool) -> Verdict | None:
    """
    The verdict that needs no question to the server; ``None`` when it must be asked.

    Args:
        call: ``None`` when the end of the call was not waited for.
        in_session: Whether the line has a session.
    """
    if call is None or call.trouble.origin == "lost":
        return None
    if not in_session or says_nothing(call):
        return "alive"
    trouble = call.trouble
    if trouble.origin == "http" and trouble.in_session and trouble.status == _NOT_FOUND:
        # The one way that the protocol defines.
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
    """Whether a refusal is not about the session."""
    return refusal.trouble.origin == "http" and refusal.trouble.status in _OTHER_REASONS


def verdict(call: Refusal | None, questions: Iterable[Refusal]) -> Verdict:
    """
    The verdict when the server has refused every question as well.

    Args:
        call: ``None`` when the end of the call was not waited for.
        questions: The refusal of each question.
    """
    if call is None or not refused_unread(call):
        return "dead"
    return "forgotten" if any(_alike(call, one) for one in questions) else "dead"


def _alike(call: Refusal, question: Refusal) -> bool:
    if question.trouble.origin == "http":
        return 400 <= question.trouble.status < 500
    # Texts may name the request, so an equal code is enough.
    return question.trouble.origin == "answer" and question.code == call.code
