"""
Handing an effect out: what a handler returns when somebody else gives the outcome.

The pipeline keeps the question in the journal and lets go of the effect; see ``pipeline.ending``.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Protocol

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.numbers import milliseconds_of
from effectmq.protocol.text import printable

__all__ = ["AttemptHooks", "WaitForAnswer", "handed_out", "new_token"]

_MOST_OF_A_NOTE = 2_000


@dataclass(frozen=True, slots=True)
class WaitForAnswer:
    """
    What a handler returns when a person or another system is to give the outcome; made by
    ``EffectContext.wait_for_answer``.

    Attributes:
        note: What is asked, for people.
        deadline_s: How long it may be answered, in seconds.
        token: Gives the right to answer; it is kept nowhere else.
        schema_json: The JSON Schema of the value; empty when every value fits.
    """

    note: str
    deadline_s: float
    token: str = field(repr=False)
    schema_json: str = ""


class AttemptHooks(Protocol):
    """What the context of a handler asks of its attempt."""

    def answer_token(self) -> str:
        """The token of whoever answers, if this attempt hands its effect out."""
        ...

    def note_progress(self, done: object, total: object, note: object) -> None:
        """Tell how far the attempt is; in any thread."""
        ...


def new_token() -> str:
    """A token that nobody can guess."""
    # Most workers never hand anything out, and would load it at each start.
    from effectmq.protocol.answering.tokens import TOKEN_BYTES, token_of

    return token_of(secrets.token_bytes(TOKEN_BYTES))


def handed_out(token: str, note: object, deadline_s: float) -> WaitForAnswer:
    """
    What a handler returns.

    Raises:
        ConfigurationError: When the note is no text, or the deadline is not above 0 seconds.
    """
    if not isinstance(note, str):
        raise ConfigurationError(
            f"the note of wait_for_answer is a {type(note).__name__}; expected text that says to a "
            "person what is asked"
        )
    if not milliseconds_of("the deadline_s of wait_for_answer", deadline_s):
        raise ConfigurationError(
            "the deadline_s of wait_for_answer is 0; expected seconds above 0, in which somebody "
            "can answer"
        )
    return WaitForAnswer(printable(note, _MOST_OF_A_NOTE), deadline_s, token)
