"""
The errors of the project, in one tree.

::

    EffectmqError                      every error that effectmq raises on purpose
    ├── ConfigurationError             a setting, an argument or a file of the user is wrong
    │   └── MissingExtraError          an optional package is not installed
    ├── ProtocolError                  bytes or values that break the wire contract
    │   ├── MalformedError             not an envelope or outcome; carries the path
    │   ├── InvalidEnvelopeError       decodes, but breaks a rule of the envelope; carries the code
    │   ├── WrongOutcomeError          an outcome of another kind than its command; carries the code
    │   ├── HashMismatchError          the hash that was sent is not that of the envelope
    │   └── UnsupportedVersionError    a message type of another version
    ├── PublishError                   a publish was not confirmed
    │   ├── UnroutableError            no queue takes it (no such kind, or an expired reply queue)
    │   ├── QueueFullError             the broker refused it
    │   ├── PayloadTooLargeError       over the size limit; nothing was sent
    │   ├── BrokerBlockedError         the broker has raised a memory or disk alarm
    │   └── PublishUnknownError        sent, never confirmed; publishing again is safe
    ├── BrokerError                    the broker could not be used at all
    │   ├── BrokerUnreachableError     no connection to host and port
    │   ├── AccessRefusedError         user, password or permission; names the one to grant
    │   ├── VirtualHostError           the virtual host does not exist or is closed to the user
    │   ├── TopologyError              a queue or exchange is missing or has other arguments
    │   ├── ReplyQueueInUseError       another live producer has this identity
    │   └── TransportClosedError       used before it was opened or after it was closed
    ├── AttachmentError                an attachment, or a body kept out of line, is unavailable
    │   ├── AttachmentStoreError       the store could not be used: unreachable, refused, full
    │   ├── AttachmentMissingError     nothing is stored under this id
    │   ├── AttachmentCorruptError     the stored bytes do not match their id
    │   └── AttachmentReferenceError   cannot become a reference; carries the wire's code
    ├── DatabaseError                  a journal's database could not be used
    │   ├── DatabaseUnavailableError   locked, full or out of reach; trying again may help
    │   │   └── DatabaseReadOnlyError  the database can only be read
    │   ├── NotStorableError           the database cannot keep the value; trying again is useless
    │   └── SchemaVersionError         written by another version of effectmq
    ├── ProcessRegistryError           the process registry refused; its text as Lash words it
    │   ├── UnknownProcessError        the process is not registered, or not yet
    │   └── ProcessLeaseLostError      the worker no longer holds the process
    ├── AnswerMisfitError              the answer to a handed-out effect is of another type
    ├── NotHandedOutError              no handed-out effect has this token or name
    ├── EffectError                    an effect without an outcome
    │   ├── EffectFailedError          a controller error came back, with code and message
    │   │   ├── EffectMismatchError    its replay key is recorded with another envelope
    │   │   ├── EffectCancelledError   it was cancelled before it had an outcome
    │   │   ├── EffectSupersededError  a later effect with its debounce key runs in its place
    │   │   └── OutcomeFailedError     its outcome is a failure, and its value was read
    │   ├── EffectTimeoutError         no outcome within the caller's time
    │   ├── ParentExpiredError         the effect that asks has run past its deadline
    │   └── RecordMissingError         strict replay, and nothing is recorded
    └── HandlerError                   raised by a handler, to say what to do with its effect
        ├── RejectEffectError          give up now: park it, answer with code and message
        ├── RetryEffectError           try again, not before the time it names
        └── ToolCallError              the tool answers with a failure of this class and code

Each error is a sentence that says what was found, what was expected and what to do. Data that a
program may want to branch on is kept in attributes. Two bases stand beside the tree: a
``CodedError`` has a code for programs and a message for people, and an ``UnavailableError`` of
broker, store or database says with ``lasting`` whether trying again is of no use.
"""

from __future__ import annotations

from effectmq.protocol.errors.base import (
    CodedError,
    ConfigurationError,
    EffectmqError,
    MissingExtraError,
    UnavailableError,
)
from effectmq.protocol.errors.broker import (
    AccessRefusedError,
    BrokerBlockedError,
    BrokerError,
    BrokerUnreachableError,
    PayloadTooLargeError,
    PublishError,
    PublishUnknownError,
    QueueFullError,
    ReplyQueueInUseError,
    TopologyError,
    TransportClosedError,
    UnroutableError,
    VirtualHostError,
)
from effectmq.protocol.errors.documents import (
    HashMismatchError,
    InvalidEnvelopeError,
    MalformedError,
    ProtocolError,
    UnsupportedVersionError,
    WrongOutcomeError,
)
from effectmq.protocol.errors.effects import (
    AnswerMisfitError,
    EffectCancelledError,
    EffectError,
    EffectFailedError,
    EffectMismatchError,
    EffectSupersededError,
    EffectTimeoutError,
    NotHandedOutError,
    OutcomeFailedError,
    ParentExpiredError,
    RecordMissingError,
)
from effectmq.protocol.errors.handlers import (
    HandlerError,
    RejectEffectError,
    RetryEffectError,
    ToolCallError,
)
from effectmq.protocol.errors.stores import (
    AttachmentCorruptError,
    AttachmentError,
    AttachmentMissingError,
    AttachmentReferenceError,
    AttachmentStoreError,
    DatabaseError,
    DatabaseReadOnlyError,
    DatabaseUnavailableError,
    NotStorableError,
    ProcessLeaseLostError,
    ProcessRegistryError,
    SchemaVersionError,
    UnknownProcessError,
)

__all__ = [
    "AccessRefusedError",
    "AnswerMisfitError",
    "AttachmentCorruptError",
    "AttachmentError",
    "AttachmentMissingError",
    "AttachmentReferenceError",
    "AttachmentStoreError",
    "BrokerBlockedError",
    "BrokerError",
    "BrokerUnreachableError",
    "CodedError",
    "ConfigurationError",
    "DatabaseError",
    "DatabaseReadOnlyError",
    "DatabaseUnavailableError",
    "EffectCancelledError",
    "EffectError",
    "EffectFailedError",
    "EffectMismatchError",
    "EffectSupersededError",
    "EffectTimeoutError",
    "EffectmqError",
    "HandlerError",
    "HashMismatchError",
    "InvalidEnvelopeError",
    "MalformedError",
    "MissingExtraError",
    "NotHandedOutError",
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
    "UnavailableError",
    "UnknownProcessError",
    "UnroutableError",
    "UnsupportedVersionError",
    "VirtualHostError",
    "WrongOutcomeError",
]
