"""
Which brokers a test session wants, read once from the environment.

===========================  =====================================================================
``EFFECTMQ_TEST_BROKERS``    comma-separated: ``default``, ``3.10``, ``4.0``, ``4.3``
``EFFECTMQ_TEST_BROKER``     address of a running broker that serves as ``default``
``EFFECTMQ_BROKER``          the same, when the former is unset and it names an AMQP broker
``EFFECTMQ_BROKER_CACHE``    folder for RabbitMQ installations, ``~/.cache/effectmq/brokers``
``CI``                       set: a broker that cannot be had fails the tests instead of skipping
===========================  =====================================================================

``default`` is whatever RabbitMQ this machine has; a version is that version, whatever it takes.
Without a list, a laptop tests against ``default``, CI against ``3.10`` and ``4.0``, or against the
address that it names and ``4.0``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.brokers.finding import SUITES

__all__ = ["DEFAULT", "Settings", "read_settings"]

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Settings:
    """
    What the session wants.

    Attributes:
        wanted: ``default`` or a RabbitMQ series, each once, in order.
        address: AMQP URL of the default broker, when it is not ours to start.
        cache: Folder for installations made by debootstrap.
        strict: A broker that cannot be had is a failure, not a skip.
    """

    wanted: tuple[str, ...]
    address: str | None
    cache: Path
    strict: bool


def read_settings(environment: Mapping[str, str]) -> Settings:
    """
    The settings out of an environment.

    Raises:
        ValueError: When ``EFFECTMQ_TEST_BROKERS`` names something else; a misspelt broker must
            not turn into tests that do not run.
    """
    strict = environment.get("CI", "").lower() not in ("", "0", "false")
    address = _address(environment)
    names = environment.get("EFFECTMQ_TEST_BROKERS", "").replace(",", " ").split()
    if not names:
        default = DEFAULT if address is not None or not strict else "3.10"
        names = [default, "4.0"] if strict else [default]
    known = (DEFAULT, *SUITES)
    for name in names:
        if name not in known:
            raise ValueError(
                f"EFFECTMQ_TEST_BROKERS names {name!r}; expected some of {', '.join(known)}"
            )
    cache = environment.get("EFFECTMQ_BROKER_CACHE") or "~/.cache/effectmq/brokers"
    return Settings(tuple(dict.fromkeys(names)), address, Path(cache).expanduser(), strict)


def _address(environment: Mapping[str, str]) -> str | None:
    for name in ("EFFECTMQ_TEST_BROKER", "EFFECTMQ_BROKER"):
        value = environment.get(name, "")
        # memory:// is a broker of effectmq, but not one that these tests are about.
        if value.startswith(("amqp://", "amqps://")):
            return value
    return None
