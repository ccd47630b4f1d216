"""
The namespace of a database: the one that it was opened for, or that of its worker.

A database that a program opens at import does not know yet in which namespace the command line
starts the worker. So a worker tells its resources, and those that were opened for a namespace keep
it.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.topology import DEFAULT_NAMESPACE, check_namespace

__all__ = ["Adoptable", "Belonging", "OfNamespace"]


@runtime_checkable
class Adoptable(Protocol):
    """A resource that takes the namespace of the worker that opens it."""

    def adopt(self, namespace: str) -> None:
        """Belong to this namespace, unless one was named before."""
        ...


class Belonging:
    """
    The namespace of one database, named or still open.

    Args:
        namespace: The fixed namespace; ``None`` when a worker may set it.
    """

    def __init__(self, namespace: str | None) -> None:
        self._named = None if namespace is None else check_namespace(namespace)
        self._adopted: str | None = None

    @property
    def namespace(self) -> str:
        """The fixed namespace, else that of the worker, else the default."""
        return self._named or self._adopted or DEFAULT_NAMESPACE

    def adopt(self, namespace: str, where: str) -> None:
        """
        Belong to this namespace, unless one was named.

        Args:
            namespace: The namespace of a worker.
            where: The database, for the error.

        Raises:
            ConfigurationError: When it belongs to the namespace of another worker already.
        """
        if self._named is None and self._adopted not in (None, namespace):
            raise ConfigurationError(
                f"the database {where} is shared by workers of the namespaces {self._adopted!r} "
                f"and {namespace!r}; expected one object for each, so open it once for each"
            )
        self._adopted = namespace


class OfNamespace:
    """
    What every database does about its namespace, as the port asks for it.

    Args:
        where: The database, for sentences and without a password.
        namespace: Named from the start, for good; ``None`` when that is still open.
    """

    def __init__(self, where: str, namespace: str | None) -> None:
        self.where = where
        self._belonging = Belonging(namespace)

    @property
    def namespace(self) -> str:
        """See the port."""
        return self._belonging.namespace

    def adopt(self, namespace: str) -> None:
        """See the port."""
        self._belonging.adopt(namespace, self.where)
