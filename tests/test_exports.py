"""The public names: exactly these, and every module says what it offers."""

from __future__ import annotations

import builtins
import inspect
import pkgutil
import re
from importlib import import_module

import pytest
from pydantic import BaseModel

import effectmq
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.broker.store.sessions import SessionInbox
from effectmq.consumers.code.handler import CodeHandler
from effectmq.consumers.processes import ProcessHandler
from effectmq.consumers.sessions import CheckpointHandler
from effectmq.parts import OwnClient, ProcessParts, SessionParts
from effectmq.protocol import errors

#: Add to this list; never take away from it.
PUBLIC = [
    "AccessRefusedError",
    "AnswerMisfitError",
    "Attachment",
    "AttachmentCorruptError",
    "AttachmentError",
    "AttachmentMissingError",
    "AttachmentReferenceError",
    "AttachmentStoreError",
    "BrokerBlockedError",
    "BrokerError",
    "BrokerUnreachableError",
    "CheckpointAbortError",
    "CheckpointContext",
    "CheckpointDelivery",
    "Chunk",
    "Client",
    "CodeSettings",
    "CodedError",
    "ConfigurationError",
    "DatabaseError",
    "DatabaseReadOnlyError",
    "DatabaseUnavailableError",
    "EffectCancelledError",
    "EffectContext",
    "EffectError",
    "EffectFailedError",
    "EffectMismatchError",
    "EffectResult",
    "EffectSupersededError",
    "EffectTimeoutError",
    "EffectmqError",
    "FailTurn",
    "FinishTurn",
    "Fleet",
    "Handle",
    "HandlerError",
    "HashMismatchError",
    "Heard",
    "InvalidEnvelopeError",
    "MalformedError",
    "MapResult",
    "MissingExtraError",
    "NotHandedOutError",
    "NotStorableError",
    "OutcomeFailedError",
    "ParentExpiredError",
    "Pause",
    "PayloadTooLargeError",
    "Place",
    "ProcessLeaseLostError",
    "ProcessRegistryError",
    "ProcessRunnerSettings",
    "ProcessScope",
    "Progress",
    "ProtocolError",
    "PublishError",
    "PublishUnknownError",
    "QueueFullError",
    "RecordMissingError",
    "RejectEffectError",
    "ReplayOrderWarning",
    "ReplyQueueInUseError",
    "RetryEffectError",
    "RetryPolicy",
    "Roster",
    "RouteReport",
    "RunningProcess",
    "RuntimeEffectEnvelope",
    "SchemaVersionError",
    "Stream",
    "Submitted",
    "SwitchAgentFrame",
    "ToolCall",
    "ToolCallError",
    "ToolContext",
    "ToolReturn",
    "TopologyError",
    "TransportClosedError",
    "TransportSettings",
    "Turn",
    "UnavailableError",
    "UnknownProcessError",
    "UnroutableError",
    "UnsupportedVersionError",
    "VirtualHostError",
    "WaitForAnswer",
    "Worker",
    "WorkerReply",
    "WorkerReport",
    "WorkerSeen",
    "WorkerSettings",
    "WorkerStuckError",
    "WrongOutcomeError",
    "whole_boundary",
]

_RAISES = re.compile(r"^Raises:\n((?:[ ]+.*\n?|\n)+)", re.MULTILINE)
_RAISED = re.compile(r"^    (\w+):", re.MULTILINE)
_WORDS = re.compile(r"(\D+)(\d*)")

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(effectmq.__path__, "effectmq.")
    if not found.name.endswith("__main__")
)


def isort_style(name: str) -> tuple[int, list[tuple[str, int]]]:
    """Constants, then classes, then the rest, numbers by their size: as the linter sorts them."""
    group = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return group, [(word, int(number or 0)) for word, number in _WORDS.findall(name)]


def test_the_top_level_is_exactly_these_names() -> None:
    """Whatever is here, somebody depends on."""
    assert effectmq.__all__ == PUBLIC == sorted(PUBLIC, key=isort_style)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_is_there_and_documented(name: str) -> None:
    """Loaded when it is first asked for, and listed."""
    value = getattr(effectmq, name)
    assert inspect.getdoc(value)
    assert name in dir(effectmq)
    assert getattr(effectmq, name) is value


#: What a public method gives, and what has public methods itself.
GIVEN = [
    CheckpointHandler,
    CodeHandler,
    ProcessHandler,
    ProcessParts,
    ProcessRegistry,
    SessionInbox,
    SessionParts,
]


def documented(given: object) -> list[tuple[str, str]]:
    """The errors that a docstring names, and where."""
    found = [(getattr(given, "__qualname__", ""), inspect.getdoc(given) or "")]
    for name, member in inspect.getmembers_static(given) if inspect.isclass(given) else ():
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        ours = str(getattr(function, "__module__", "")).startswith("effectmq.")
        if ours and (not name.startswith("_") or name.startswith("__")):
            found.append((f"{found[0][0]}.{name}", inspect.getdoc(function) or ""))
    return [
        (error, where)
        for where, text in found
        for section in _RAISES.findall(text)
        for error in _RAISED.findall(section)
    ]


@pytest.mark.parametrize(
    "given", [*(getattr(effectmq, name) for name in PUBLIC), *GIVEN], ids=lambda one: one.__name__
)
def test_every_error_that_is_documented_can_be_imported(given: object) -> None:
    """From the same place as what raises it."""
    missing = [
        (error, where)
        for error, where in documented(given)
        if error not in effectmq.__all__ and not hasattr(builtins, error)
    ]
    assert missing == [], "export it from effectmq"


def test_the_walk_finds_errors() -> None:
    """Of a class, of a method, and of a property."""
    found = [where for one in (effectmq.Worker, effectmq.Turn) for _, where in documented(one)]
    assert {"Worker", "Worker.code", "Turn.tool_call_from_model"} <= {*found}
    assert ("TransportClosedError", "OwnClient.client") in documented(OwnClient)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_one_object_wherever_it_comes_from(name: str) -> None:
    """So that an ``except`` clause fits."""
    assert getattr(effectmq, name) is getattr(errors, name)


#: Deprecated spellings; each has one in seconds beside it.
FORMER = {
    "ProcessHandler.first_wait_ms",
    "ProcessHandler.longest_wait_ms",
    "SessionInbox.prune.older_than_ms",
    "ToolCallError.after_ms",
    "Turn.sleep.duration_ms",
}
#: Numbers of the wire that a program passes on or reads as they are.
MILLISECONDS = {
    "EffectContext.deadline_ms",
    "ParentExpiredError.late_ms",
    "Pause.at_ms",
    "ProcessRegistry.claim_lease.ttl_ms",
    "ProcessRegistry.renew_lease.ttl_ms",
    "RouteReport.published_ms",
    "RouteReport.taken_ms",
    "ToolContext.deadline_ms",
    "WorkerReport.reported_ms",
    "WorkerReport.started_ms",
    "WorkerSeen.seen_ms",
}
_OTHER_UNITS = re.compile(r"_(ms|millis|sec|secs|seconds|min|mins|minutes|hours|days)$")


def _is_built_by_others(given: type[object]) -> bool:
    # Types of the wire have its names; an error without arguments of its own has Python's.
    plain = issubclass(given, BaseException) and not inspect.isfunction(given.__init__)
    return plain or issubclass(given, BaseModel)


def parameters(given: object) -> list[tuple[str, str]]:
    """The parameters of a class and of its public methods, with their annotations."""
    found = [given]
    if inspect.isclass(given):
        found += [
            member
            for name, member in inspect.getmembers(given, inspect.isroutine)
            if not name.startswith("_")
        ]
    ours = [one for one in found if str(getattr(one, "__module__", "")).startswith("effectmq.")]
    return [
        (f"{getattr(one, '__qualname__', '')}.{each.name}", str(each.annotation))
        for one in ours
        if callable(one) and not (inspect.isclass(one) and _is_built_by_others(one))
        for each in inspect.signature(one).parameters.values()
    ]


def test_times_are_seconds_wherever_a_program_gives_one() -> None:
    """Floats whose names end with ``_s``, or ``timeout`` as in asyncio; a new one is no other."""
    public = [*(getattr(effectmq, name) for name in PUBLIC), *GIVEN]
    every = [each for given in public for each in parameters(given)]
    assert {name for name, _ in every if _OTHER_UNITS.search(name)} == MILLISECONDS | FORMER
    assert {re.sub("_ms$", "_s", name) for name in FORMER} <= {name for name, _ in every}
    assert [name for name, annotation in every if "timedelta" in annotation] == []
    ends = ("_s", ".timeout")
    seconds = {name: annotation for name, annotation in every if name.endswith(ends)}
    assert seconds
    # AMQP counts heartbeats in whole seconds.
    whole = [name for name, annotation in seconds.items() if "float" not in annotation]
    assert whole == ["TransportSettings.heartbeat_s"]


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="Clinet"):
        _ = effectmq.Clinet


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_offers(name: str) -> None:
    """A docstring, and an ``__all__`` that is sorted and true; a package may be empty."""
    module = import_module(name)
    offered = list(getattr(module, "__all__", ()))
    if offered or not hasattr(module, "__path__"):
        assert module.__doc__
    assert offered or hasattr(module, "__path__")
    assert offered == sorted(set(offered), key=isort_style)
    assert all(hasattr(module, found) for found in offered)
