"""
The environment, read in one place and only when something is built, never at import.

==========================  =====================================================================
variable                    meaning
==========================  =====================================================================
``EFFECTMQ_BROKER``         the broker's address, or several of a cluster separated by commas;
                            ``memory://`` when not set
``EFFECTMQ_NAMESPACE``      prefix of all queue names; ``effects`` when not set
``EFFECTMQ_JOURNAL``        ``sqlite:///path``, ``postgresql://…`` or ``none``; for workers a file
                            among the user's state when not set, for clients none
``EFFECTMQ_IDENTITY``       a client's reply queue; random when not set
``EFFECTMQ_DELAY_LEVELS``   delay levels in milliseconds, for instance ``1000,5000,60000``
``EFFECTMQ_DELIVERY_LIMIT`` returns after which the broker moves a message to limbo
``EFFECTMQ_ATTACHMENTS``    the attachment store's address; none when not set
``EFFECTMQ_CRASH_AT``       for fault tests: the named point at which this process dies
==========================  =====================================================================

An argument beats the variable, the variable beats the default. API keys of model providers have
names that the table of models gives.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from effectmq.broker import crashpoints
from effectmq.journal_place import default_journal
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.topology import (
    DEFAULT_DELAY_LEVELS_MS,
    DEFAULT_DELIVERY_LIMIT,
    DEFAULT_NAMESPACE,
    TopologySettings,
)

__all__ = ["DEFAULT_BROKER", "Environment", "variables"]

#: In one process, without a server.
DEFAULT_BROKER = "memory://"


def variables() -> Mapping[str, str]:
    """The process's own variables, for what names the ones it needs itself."""
    return os.environ


@dataclass(frozen=True, slots=True)
class Environment:
    """
    What the environment says.

    Attributes:
        broker: The broker's address.
        identity: A client's identity; ``None`` for a random one.
        topology: Namespace, delay levels, delivery limit.
        attachments: The attachment store's address; empty for none.
        journal: The journal's address; ``None`` when it was not said.
        state: The variables that say where this user's state is kept.
    """

    broker: str
    identity: str | None
    topology: TopologySettings
    attachments: str
    journal: str | None
    state: Mapping[str, str]

    @classmethod
    def read(cls, variables: Mapping[str, str] | None = None) -> Environment:
        """
        Read it, and arm the crash point if one is named.

        Args:
            variables: Instead of the process's own.

        Raises:
            ConfigurationError: When a variable cannot be used; names it.
        """
        found = os.environ if variables is None else variables
        crashpoints.arm(found.get("EFFECTMQ_CRASH_AT", ""))
        return cls(
            broker=found.get("EFFECTMQ_BROKER") or DEFAULT_BROKER,
            identity=found.get("EFFECTMQ_IDENTITY") or None,
            topology=TopologySettings(
                namespace=found.get("EFFECTMQ_NAMESPACE") or DEFAULT_NAMESPACE,
                delay_levels_ms=_numbers(found, "EFFECTMQ_DELAY_LEVELS") or DEFAULT_DELAY_LEVELS_MS,
                delivery_limit=(
                    _numbers(found, "EFFECTMQ_DELIVERY_LIMIT") or (DEFAULT_DELIVERY_LIMIT,)
                )[0],
            ),
            attachments=found.get("EFFECTMQ_ATTACHMENTS", ""),
            journal=found.get("EFFECTMQ_JOURNAL") or None,
            state={name: found[name] for name in ("HOME", "XDG_STATE_HOME") if name in found},
        )

    def topology_in(self, namespace: str | None) -> TopologySettings:
        """The topology settings, in another namespace when one is given."""
        if namespace is None:
            return self.topology
        return TopologySettings(
            namespace=namespace,
            delay_levels_ms=self.topology.delay_levels_ms,
            delivery_limit=self.topology.delivery_limit,
        )

    def journal_in(self, namespace: str) -> str:
        """The journal of the workers of a namespace: what was said, else this user's file."""
        return self.journal or default_journal(self.state, namespace)


def _numbers(variables: Mapping[str, str], name: str) -> tuple[int, ...]:
    text = variables.get(name, "")
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigurationError(
            f"{name} is {text!r}; expected whole numbers, separated by commas"
        ) from None
