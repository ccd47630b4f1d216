"""
A tool that pays back by itself what is little, and asks a person for the rest.

::

    effectmq worker examples.approval.worker:app

``send_mail`` stands for the mail or the chat message that the person gets. The token in it gives
the right to answer, so it is not printed anywhere else.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from effectmq import ToolContext, WaitForAnswer, Worker

#: What needs no person, in euros.
LITTLE = 50

app = Worker(journal=os.environ.get("EFFECTMQ_JOURNAL") or "memory://approval")

#: The mails that nobody has answered yet: what is asked, and the token.
mails: list[tuple[str, str]] = []


@dataclass
class Decision:
    """Whether it is paid back, and who says so."""

    approved: bool
    by: str


def send_mail(question: str, token: str) -> None:
    """Tell the person who decides."""
    mails.append((question, token))
    print(f"a person is asked: {question}", file=sys.stderr, flush=True)


@app.tool
def refund(order: str, amount: int, context: ToolContext) -> Decision | WaitForAnswer:
    """Pay an amount back for an order."""
    if amount <= LITTLE:
        return Decision(approved=True, by="rule")
    question = f"Pay {amount} euros back for order {order}?"
    send_mail(question, context.answer_token)
    return context.wait_for_answer(note=question, deadline_s=24 * 3_600)
