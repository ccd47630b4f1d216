"""What became of one effect, when it gave no outcome."""

from __future__ import annotations

from effectmq.protocol.errors.base import EffectmqError

__all__ = [
    "AnswerMisfitError",
    "EffectCancelledError",
    "EffectError",
    "EffectFailedError",
    "EffectMismatchError",
    "EffectSupersededError",
    "EffectTimeoutError",
    "NotHandedOutError",
    "OutcomeFailedError",
    "ParentExpiredError",
    "RecordMissingError",
]


class EffectError(EffectmqError):
    """An effect gave no outcome."""


class EffectFailedError(EffectError):
    """
    The effect could not be carried out: a controller error came back.

    Args:
        effect_id: The effect's id inside its scope.
        code: The controller error's code.
        message: The controller error's message.
    """

    def __init__(self, effect_id: str, code: str, message: str) -> None:
        self.effect_id = effect_id
        self.code = code
        self.message = message
        super().__init__(f"effect {effect_id!r} failed with {code}: {message}")


class EffectMismatchError(EffectFailedError):
    """
    The replay key is recorded with another envelope. Nothing was executed, and the record stays.

    Args:
        effect_id: The effect's id inside its scope.
        code: The controller error's code.
        message: The controller error's message; names the members that differ.
        paths: The members that differ, when the record could be compared; never their values.
    """

    def __init__(
        self, effect_id: str, code: str, message: str, paths: tuple[str, ...] = ()
    ) -> None:
        self.paths = paths
        super().__init__(effect_id, code, message)


class EffectCancelledError(EffectFailedError):
    """The effect was cancelled before it had an outcome, and will never have one."""


class EffectSupersededError(EffectFailedError):
    """
    Another effect with its debounce key was asked for later, and runs in its place.

    It will never have an outcome; the message names the other one.
    """


class OutcomeFailedError(EffectFailedError):
    """
    The outcome of an effect is a failure, and its value was read.

    An outcome does not name its effect, so ``effect_id`` is empty.

    Args:
        what: What failed, as a phrase: a tool with its name, the model, the block.
        class_: The class of the failure: for a tool and a process a ``ToolFailureClass`` or
            ``cancelled``, for a model its terminal reason.
        code: A short stable name for a program to branch on.
        message: A sentence for people.
    """

    def __init__(self, what: str, class_: str, code: str, message: str) -> None:
        super().__init__("", code, message)
        self.class_ = class_
        self.args = (f"{what} failed with {code} ({class_}): {message}",)


class RecordMissingError(EffectError):
    """
    Strict replay was asked for, and the journal has no finished record of the effect.

    Args:
        effect_id: The effect's id inside its scope.
        scope_id: The id of its scope.
        replay_key: Its replay key.
    """

    def __init__(self, effect_id: str, scope_id: str, replay_key: str) -> None:
        self.effect_id = effect_id
        self.scope_id = scope_id
        self.replay_key = replay_key
        super().__init__(
            f"no recorded outcome of effect {effect_id!r} for scope {scope_id!r} and replay key "
            f"{replay_key!r}, and strict replay never executes. Record it first by running without "
            "replay='strict', or check that the program asks for the same effects in the same order"
        )


class EffectTimeoutError(EffectError, TimeoutError):
    """
    No outcome arrived within the caller's time. The effect itself goes on, unless it has ended.

    Args:
        effect_id: The effect's id inside its scope.
        timeout_s: The time limit, in seconds.
        recorded: ``False`` when the journal was asked and has no outcome; ``None`` when it could
            not be asked, so that nothing is known.
    """

    def __init__(self, effect_id: str, timeout_s: float, recorded: bool | None = None) -> None:
        self.effect_id = effect_id
        self.timeout_s = timeout_s
        known = (
            "Whether it waits, runs or has ended is not known here"
            if recorded is None
            else "The journal has no outcome of it, so it waits or runs"
        )
        super().__init__(
            f"no outcome for effect {effect_id!r} within {timeout_s:g} s. {known}: wait longer or "
            "ask for the same effect again, which is safe; check that a worker of its kind runs "
            "(effectmq queues), or look for it among the dead letters (effectmq dead list)"
        )


class ParentExpiredError(EffectError):
    """
    The deadline of the effect that asks for this one has passed; nothing was sent.

    Args:
        effect_id: The id of the effect that was not sent.
        late_ms: How long ago the deadline passed, in milliseconds.
    """

    def __init__(self, effect_id: str, late_ms: int) -> None:
        self.effect_id = effect_id
        super().__init__(
            f"effect {effect_id!r} was not submitted: the deadline of the effect that asks for it "
            f"passed {late_ms} ms ago; give that effect more time, or use detached() to submit "
            "effects that outlive it"
        )


class AnswerMisfitError(EffectmqError):
    """The answer to a handed-out effect is not what its tool returns; nothing was changed."""


class NotHandedOutError(EffectmqError):
    """There is no handed-out effect of this token or name; nothing was changed."""
