"""
The one error tree of the project.

::

    EffectmqError                      everything raised on purpose
    ├── ConfigurationError             a setting, argument or file of yours is wrong
    │   └── MissingExtraError          an optional package is not installed
    ├── ProtocolError                  bytes or values that break the wire contract
    │   ├── MalformedError             not an envelope or outcome; carries the path
    │   ├── InvalidEnvelopeError       decodes, but breaks a rule of the envelope; carries the code
    │   ├── WrongOutcomeError          an outcome of another kind than its command; carries the code
    │   ├── HashMismatchError          the hash that was sent is not the hash of what was sent
    │   └── UnsupportedVersionError    a message type of another version
    ├── PublishError                   what became of one publish, when it was not confirmed
    │   ├── UnroutableError            no queue takes it (no such kind, or an expired reply queue)
    │   ├── QueueFullError             the broker refused it
    │   ├── PayloadTooLargeError       over the size cap; nothing was sent
    │   ├── BrokerBlockedError         the broker has raised a memory or disk alarm
    │   └── PublishUnknownError        sent, never confirmed; publishing again is safe
    ├── BrokerError                    the broker could not be used at all
    │   ├── BrokerUnreachableError     no connection to host and port
    │   ├── AccessRefusedError         user, password or permission; names the one to grant
    │   ├── VirtualHostError           the virtual host does not exist or is closed to the user
    │   ├── TopologyError              a queue or exchange is missing or has other arguments
    │   ├── ReplyQueueInUseError       another live producer has this identity
    │   └── TransportClosedError       used before it was opened or after it was closed
    ├── AttachmentError                an attachment, or a body kept out of line, cannot be had
    │   ├── AttachmentStoreError       the store could not be used: unreachable, refused, full
    │   ├── AttachmentMissingError     nothing is stored under this id
    │   ├── AttachmentCorruptError     what is stored is not what its id says
    │   └── AttachmentReferenceError   cannot become a reference; carries the wire's code
    ├── DatabaseError                  a journal's database could not be used
    │   ├── DatabaseUnavailableError   locked, full or out of reach; trying again may help
    │   │   └── DatabaseReadOnlyError  what is there can only be read
    │   ├── NotStorableError           nothing that a database can keep; trying again does not help
    │   └── SchemaVersionError         written by another version of effectmq
    ├── ProcessRegistryError           the process registry refused; its text as Lash words it
    │   ├── UnknownProcessError        nobody has registered the process, or not yet
    │   └── ProcessLeaseLostError      the worker does not hold the process any more
    ├── EffectError                    what became of one effect
    │   ├── EffectFailedError          a controller error came back, with code and message
    │   │   ├── EffectMismatchError    its replay key is recorded with another envelope
    │   │   ├── EffectCancelledError   it was cancelled before it had an outcome
    │   │   └── OutcomeFailedError     its outcome is a failure, and its value was asked for
    │   ├── EffectTimeoutError         no outcome within the caller's time
    │   ├── ParentExpiredError         the effect that asks has run past its deadline
    │   └── RecordMissingError         strict replay, and nothing is recorded
    └── HandlerError                   raised by a handler, to say what to do with its effect
        ├── RejectEffectError          give up now: park it, answer with code and message
        ├── RetryEffectError           try again, not before the time it names
        └── ToolCallError              the tool answers with a failure of this class and code

Each error is a sentence that says what was found, what was expected and what to do. Data that a
program may want to branch on is kept in attributes.
"""

from __future__ import annotations

__all__ = [
    "AccessRefusedError",
    "AttachmentCorruptError",
    "AttachmentError",
    "AttachmentMissingError",
    "AttachmentReferenceError",
    "AttachmentStoreError",
    "BrokerBlockedError",
    "BrokerError",
    "BrokerUnreachableError",
    "ConfigurationError",
    "DatabaseError",
    "DatabaseReadOnlyError",
    "DatabaseUnavailableError",
    "EffectCancelledError",
    "EffectError",
    "EffectFailedError",
    "EffectMismatchError",
    "EffectTimeoutError",
    "EffectmqError",
    "HandlerError",
    "HashMismatchError",
    "InvalidEnvelopeError",
    "MalformedError",
    "MissingExtraError",
    "NotStorableError",
    "OutcomeFailedError",
    "ParentExpiredError",
    "PayloadTooLargeError",
    "ProcessLeaseLostError",
    "ProcessRegistryError",
    "ProtocolError",
    "PublishError",
    "PublishUnknownError",
    "QueueFullError",
    "RecordMissingError",
    "RejectEffectError",
    "ReplyQueueInUseError",
    "RetryEffectError",
    "SchemaVersionError",
    "ToolCallError",
    "TopologyError",
    "TransportClosedError",
    "UnknownProcessError",
    "UnroutableError",
    "UnsupportedVersionError",
    "VirtualHostError",
    "WrongOutcomeError",
]


class EffectmqError(Exception):
    """Base of every error that effectmq raises on purpose."""


class ConfigurationError(EffectmqError):
    """A setting, an argument or a file that the user gave cannot be used."""


class MissingExtraError(ConfigurationError):
    """
    An optional package is not installed.

    Args:
        feature: What was asked for, as a noun phrase.
        extra: The extra of this distribution that brings the package.
    """

    def __init__(self, feature: str, extra: str) -> None:
        self.feature = feature
        self.extra = extra
        super().__init__(
            f"{feature} needs a package that is not installed; run: pip install 'effectmq[{extra}]'"
        )


class ProtocolError(EffectmqError):
    """Bytes or values that break the wire contract."""


class MalformedError(ProtocolError):
    """
    A document that is not what it claims to be.

    Args:
        path: Where in the document, as ``a.b[0]``; empty for the document itself.
        problem: What was found there and what was expected.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}" if path else problem)


class InvalidEnvelopeError(ProtocolError):
    """
    An envelope that decodes but breaks a rule of the contract.

    Args:
        code: The wire format's code, for instance ``runtime_effect_replay_required``.
        message: The wire format's fixed message for it.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


class WrongOutcomeError(ProtocolError):
    """
    An outcome of another kind than was expected.

    Args:
        code: The wire format's code, ``runtime_effect_wrong_outcome``.
        message: The wire format's message for it; names both kinds.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


class HashMismatchError(ProtocolError):
    """
    The hash sent with an envelope is not the hash of that envelope.

    Args:
        claimed: The hash that was sent.
        actual: The hash of the canonical form of what was sent.
        unknown: The members that this version does not know, as text; empty when there are none.
    """

    def __init__(self, claimed: str, actual: str, unknown: str = "") -> None:
        self.claimed = claimed
        self.actual = actual
        self.unknown = unknown
        why = "it was changed on the way, or the producer's encoder differs"
        if unknown:
            why = (
                f"members that this version does not know are not part of it here ({unknown}), so "
                "the producer may be newer: upgrade the workers"
            )
        super().__init__(
            f"the envelope hashes to {actual} but was sent with {claimed}: {why} (check it with: "
            "effectmq canonicalize)"
        )


class UnsupportedVersionError(ProtocolError):
    """
    A message type that this version does not speak.

    Args:
        found: The ``type`` property of the message.
        expected: The ``type`` that this version speaks.
    """

    def __init__(self, found: str, expected: str) -> None:
        self.found = found
        self.expected = expected
        super().__init__(
            f"the message has type {found!r} and this version speaks {expected!r}; "
            "upgrade the older of producer and worker"
        )


class PublishError(EffectmqError):
    """One publish was not confirmed by the broker."""


class UnroutableError(PublishError):
    """The broker has no queue for this exchange and routing key."""


class QueueFullError(PublishError):
    """The broker refused the message, because the queue is at its limit."""


class PayloadTooLargeError(PublishError):
    """
    The message is over the size cap; nothing was sent.

    Args:
        what: Which part is too large, as a noun phrase.
        size_bytes: Its size.
        limit_bytes: The cap.
    """

    def __init__(self, what: str, size_bytes: int, limit_bytes: int) -> None:
        self.what = what
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(
            f"{what} is {size_bytes} bytes and the limit is {limit_bytes}; nothing was sent. "
            "Keep large data outside the effect and pass a reference, or raise the limit"
        )


class BrokerBlockedError(PublishError):
    """The broker has stopped accepting publishes because of a memory or disk alarm."""


class PublishUnknownError(PublishError):
    """The connection was lost or time ran out before the broker confirmed the message."""


class BrokerError(EffectmqError):
    """The broker could not be used at all."""


class BrokerUnreachableError(BrokerError):
    """
    No connection could be made to the broker's host and port, or it was lost.

    Args:
        problem: What was found and what to do.
        lasting: Whether trying again is of no use until somebody changes an address or a setting.
    """

    def __init__(self, problem: str, *, lasting: bool = False) -> None:
        self.lasting = lasting
        super().__init__(problem)


class AccessRefusedError(BrokerError):
    """
    The broker refused the user, the password, or an operation for lack of permission.

    Nothing of the operation was done. Trying again helps when somebody has granted what is missing.

    Args:
        problem: What was refused, and the command that grants it.
        permission: ``configure``, ``write`` or ``read``; empty when the broker did not say.
        resource: The exchange or queue, as a noun phrase; empty for a login.
        user: Who was refused.
        vhost: In which virtual host.
        parts: When several things were refused, each of them.
    """

    def __init__(
        self,
        problem: str,
        *,
        permission: str = "",
        resource: str = "",
        user: str = "",
        vhost: str = "",
        parts: tuple[AccessRefusedError, ...] = (),
    ) -> None:
        self.permission = permission
        self.resource = resource
        self.user = user
        self.vhost = vhost
        self.parts = parts
        super().__init__(problem)


class VirtualHostError(BrokerError):
    """The virtual host does not exist, or the user may not use it."""


class TopologyError(BrokerError):
    """A queue or an exchange is missing, or exists with other arguments than ours."""


class ReplyQueueInUseError(BrokerError):
    """Another live producer is reading the reply queue of this identity."""


class TransportClosedError(BrokerError):
    """The transport was used before it was opened or after it was closed."""


class AttachmentError(EffectmqError):
    """An attachment, or a body that is kept out of line, could not be stored or loaded."""


class AttachmentStoreError(AttachmentError):
    """
    The attachment store could not be used.

    Args:
        problem: What was found and what to do.
        lasting: Whether trying again is of no use until somebody changes an address or a setting.
    """

    def __init__(self, problem: str, *, lasting: bool = False) -> None:
        self.lasting = lasting
        super().__init__(problem)


class AttachmentMissingError(AttachmentError):
    """
    Nothing is stored under an id.

    Args:
        attachment_id: The id that was asked for.
        problem: What was found and what to do.
    """

    def __init__(self, attachment_id: str, problem: str) -> None:
        self.attachment_id = attachment_id
        super().__init__(problem)


class AttachmentCorruptError(AttachmentError):
    """
    What is stored under an id is not what the id says.

    Args:
        attachment_id: The id that was asked for.
        problem: What was found and what to do.
    """

    def __init__(self, attachment_id: str, problem: str) -> None:
        self.attachment_id = attachment_id
        super().__init__(problem)


class AttachmentReferenceError(AttachmentError):
    """
    An attachment that cannot be sent as a reference.

    Args:
        code: The wire format's code, for instance ``runtime_effect_attachment_media_type``.
        message: The wire format's message for it.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


class DatabaseError(EffectmqError):
    """The database of a journal could not be used."""


class DatabaseUnavailableError(DatabaseError):
    """
    Locked, full, out of reach, or its file is gone; nothing of the transaction was kept.

    When a connection is lost in the very moment of a commit, it may have been kept after all, and
    the message says so. Trying again may help, and is always safe.

    Args:
        problem: What was found and what to do.
        lasting: Whether trying again is of no use until somebody changes an address or a setting.
    """

    def __init__(self, problem: str, *, lasting: bool = False) -> None:
        self.lasting = lasting
        super().__init__(problem)


class DatabaseReadOnlyError(DatabaseUnavailableError):
    """What is there can only be read; a worker that finds it so at its start does not start."""


class NotStorableError(DatabaseError):
    """
    What was to be kept is nothing that the database can keep; nothing of the transaction was.

    A text with a character that the database does not have, a value that is too large or breaks a
    rule of its table. Trying again gives the same.
    """

    code = "effectmq_not_storable"


class SchemaVersionError(DatabaseError):
    """
    The tables were written by another version of effectmq.

    Args:
        component: Which tables.
        found: Their version.
        expected: The version that this code reads and writes.
        where: The database, without a password.
        namespace: Of whoever asks.
    """

    def __init__(
        self, component: str, found: int, expected: int, where: str, namespace: str = ""
    ) -> None:
        self.component = component
        self.found = found
        self.expected = expected
        what = f"the {component} tables in {where} have version {found}, expected {expected}"
        if found < expected:
            whose = f" --namespace {namespace}" if namespace else ""
            super().__init__(
                f"{what}; stop the workers, then run: effectmq journal migrate --journal "
                f"{where}{whose}"
            )
        else:
            super().__init__(f"{what}; they were written by a newer effectmq, so upgrade this one")


class ProcessRegistryError(EffectmqError):
    """
    The process registry refused what was asked of it; nothing was changed.

    Args:
        text: What Lash says in the same case, word for word. Through an effect it becomes the
            controller error ``plugin``.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)

    @property
    def display(self) -> str:
        """The text as a controller error carries it."""
        return f"plugin session error: {self.text}"


class UnknownProcessError(ProcessRegistryError):
    """Nobody has registered the process, or not yet: its start may be on its way."""


class ProcessLeaseLostError(ProcessRegistryError):
    """The lease of a process has run out, or another worker has taken it."""


class EffectError(EffectmqError):
    """What became of one effect, when it gave no outcome."""


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
    The replay key is recorded with another envelope. Nothing was executed, the record stays.

    Args:
        effect_id: The effect's id inside its scope.
        code: The controller error's code.
        message: The controller error's message; names the members that differ.
        paths: The members that differ, when the record was at hand to compare; never their values.
    """

    def __init__(
        self, effect_id: str, code: str, message: str, paths: tuple[str, ...] = ()
    ) -> None:
        self.paths = paths
        super().__init__(effect_id, code, message)


class EffectCancelledError(EffectFailedError):
    """It was cancelled before it had an outcome; it will never have one."""


class OutcomeFailedError(EffectFailedError):
    """
    There is an outcome, it is a failure, and its ``value`` was asked for.

    An outcome does not say which effect it is of, so ``effect_id`` is empty.

    Args:
        what: What failed, as a phrase: a tool with its name, the model, the block.
        class_: The sort of failure: of a tool and a process a ``ToolFailureClass`` or
            ``cancelled``, of a model its terminal reason.
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
        replay_key: Its key.
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
        timeout_s: The time that was given, in seconds.
        recorded: ``False`` when the journal was asked and has no outcome; ``None`` when nobody
            could be asked, so that nothing is known of it here.
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
    The effect on whose behalf this one was asked for has passed its deadline; nothing was sent.

    Args:
        effect_id: The id of the effect that was asked for.
        late_ms: How long ago that was, in milliseconds.
    """

    def __init__(self, effect_id: str, late_ms: int) -> None:
        self.effect_id = effect_id
        super().__init__(
            f"effect {effect_id!r} was not submitted: the deadline of the effect that asks for it "
            f"passed {late_ms} ms ago; give that one more time, or submit what outlives it inside "
            "of detached()"
        )


class HandlerError(EffectmqError):
    """Raised by a handler to say what should become of the effect it was given."""


class RejectEffectError(HandlerError):
    """
    Give up now: the effect is parked as ``rejected`` and the caller gets the code and message.

    Args:
        code: A short stable name for a program to branch on.
        message: A sentence for a person.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


class RetryEffectError(HandlerError):
    """
    Try again, within the retry policy's budget.

    Args:
        message: What went wrong this time.
        after_s: The earliest next attempt, in seconds from now, for instance from a
            ``Retry-After`` header; ``None`` leaves it to the policy.
    """

    def __init__(self, message: str, *, after_s: float | None = None) -> None:
        self.after_s = after_s
        super().__init__(message)


class ToolCallError(HandlerError):
    """
    The tool answers with a failure, which is an outcome and not a lost effect.

    Args:
        message: A sentence for the model and for people.
        code: A short stable name.
        class_: A ``ToolFailureClass`` of the wire format.
        source: A ``ToolFailureSource`` of the wire format: who says that it failed.
        retry: Whether trying again can help; only then does the tool's retry policy apply.
        after_ms: The earliest next attempt, in milliseconds.
        raw: Plain data to go with it.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "tool_error",
        class_: str = "execution",
        source: str = "tool",
        retry: bool = False,
        after_ms: int | None = None,
        raw: object = None,
    ) -> None:
        self.message = message
        self.code = code
        self.class_ = class_
        self.source = source
        self.retry = retry
        self.after_ms = after_ms
        self.raw = raw
        super().__init__(message)
