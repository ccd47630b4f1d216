"""What is kept and cannot be had: attachments, databases, the process registry."""

from __future__ import annotations

from effectmq.protocol.errors.base import CodedError, EffectmqError, UnavailableError

__all__ = [
    "AttachmentCorruptError",
    "AttachmentError",
    "AttachmentMissingError",
    "AttachmentReferenceError",
    "AttachmentStoreError",
    "DatabaseError",
    "DatabaseReadOnlyError",
    "DatabaseUnavailableError",
    "NotStorableError",
    "ProcessLeaseLostError",
    "ProcessRegistryError",
    "SchemaVersionError",
    "UnknownProcessError",
]


class AttachmentError(EffectmqError):
    """An attachment, or a body that is kept out of line, could not be stored or loaded."""


class AttachmentStoreError(AttachmentError, UnavailableError):
    """
    The attachment store could not be used.

    Args:
        problem: What was found and what to do.
        lasting: Whether trying again is useless until somebody changes an address or a setting.
    """


class AttachmentMissingError(AttachmentError):
    """
    Nothing is stored under an id.

    Args:
        attachment_id: The id.
        problem: What was found and what to do.
    """

    def __init__(self, attachment_id: str, problem: str) -> None:
        self.attachment_id = attachment_id
        super().__init__(problem)


class AttachmentCorruptError(AttachmentError):
    """
    The stored bytes do not match their id.

    Args:
        attachment_id: The id.
        problem: What was found and what to do.
    """

    def __init__(self, attachment_id: str, problem: str) -> None:
        self.attachment_id = attachment_id
        super().__init__(problem)


class AttachmentReferenceError(AttachmentError, CodedError):
    """
    An attachment that cannot be sent as a reference.

    Args:
        code: The wire format's code, for instance ``runtime_effect_attachment_media_type``.
        message: The wire format's message for it.
    """


class DatabaseError(EffectmqError):
    """The database of a journal could not be used."""


class DatabaseUnavailableError(DatabaseError, UnavailableError):
    """
    The database is locked, full or out of reach, or its file is gone; nothing of the transaction
    was kept.

    When a connection is lost during a commit, the transaction may have been kept after all, and the
    message says so. Trying again may help, and is always safe.

    Args:
        problem: What was found and what to do.
        lasting: Whether trying again is useless until somebody changes an address or a setting.
    """


class DatabaseReadOnlyError(DatabaseUnavailableError):
    """The database can only be read; a worker that finds this at its start does not start."""


class NotStorableError(DatabaseError):
    """
    The database cannot keep the value, so nothing of the transaction was kept.

    For instance a text with a character that the database does not have, or a value that is too
    large or breaks a rule of its table. Trying again gives the same.
    """

    code = "effectmq_not_storable"


class SchemaVersionError(DatabaseError):
    """
    The tables were written by another version of effectmq.

    Args:
        component: The tables.
        found: Their version.
        expected: The version that this code reads and writes.
        where: The database, without a password.
        namespace: The namespace of the caller.
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
    The process registry refused an operation; nothing was changed.

    Args:
        text: The text that Lash has for the same case, word for word. Through an effect it becomes
            the controller error ``plugin``.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)

    @property
    def display(self) -> str:
        """The text as a controller error carries it."""
        return f"plugin session error: {self.text}"


class UnknownProcessError(ProcessRegistryError):
    """The process is not registered, or not yet: its start may be on its way."""


class ProcessLeaseLostError(ProcessRegistryError):
    """The lease of a process has run out, or another worker has taken it."""
