"""The rules that a registration must keep."""

from __future__ import annotations

from effectmq.protocol.encoding.rust_text import is_blank
from effectmq.protocol.errors import ProcessRegistryError, UnknownProcessError
from effectmq.protocol.identity.digests import prepared_registration
from effectmq.protocol.wire.process_event_types import ProcessEventType
from effectmq.protocol.wire.process_registration import ProcessRegistration

__all__ = ["checked_registration", "hash_conflict", "unknown_process"]


def checked_registration(registration: ProcessRegistration) -> ProcessRegistration:
    """
    The registration with the missing standard event types, after all checks.

    Raises:
        ProcessRegistryError: When it breaks a rule; names the first one.
    """
    prepared = prepared_registration(registration)
    problem = _problem(prepared)
    if problem is not None:
        raise ProcessRegistryError(problem)
    return prepared


def _problem(registration: ProcessRegistration) -> str | None:
    id_ = registration.id
    if is_blank(id_):
        return "process id must be a non-empty string"
    if not registration.provenance.owner_scope.session_id:
        return f"process `{id_}` owner scope must include a session id"
    if is_blank(registration.provenance.host_profile_id):
        return f"process `{id_}` host profile id must be non-empty"
    names: set[str] = set()
    for event_type in registration.event_types:
        problem = _event_type_problem(id_, event_type, names)
        if problem is not None:
            return problem
        names.add(event_type.name)
    return None


def _event_type_problem(id_: str, event_type: ProcessEventType, names: set[str]) -> str | None:
    name, terminal = event_type.name, event_type.semantics.terminal
    if is_blank(name):
        return f"process `{id_}` declares an empty event type"
    if name in names:
        return f"process `{id_}` declares duplicate event type `{name}`"
    if terminal and terminal.state != "completed" and terminal.await_output is None:
        return f"terminal event `{name}` for process `{id_}` must declare await output"
    return None


def hash_conflict(process_id: str, existing: str, new: str) -> ProcessRegistryError:
    """The error for an id that is registered with other content."""
    return ProcessRegistryError(
        f"process `{process_id}` registration hash conflict: existing {existing}, new {new}"
    )


def unknown_process(process_id: str) -> UnknownProcessError:
    """The error for an id that is not registered."""
    return UnknownProcessError(f"unknown process `{process_id}`")
