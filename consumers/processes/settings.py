"""The settings of the runner of processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.numbers import check_numbers

__all__ = ["ProcessArguments", "ProcessRunnerSettings"]


@dataclass(frozen=True, slots=True)
class ProcessRunnerSettings:
    """
    The settings of a runner of processes.

    Attributes:
        host_profile_id: The profile of this host; processes of another profile do not run here.
        lease_s: How long a lease lasts without being renewed. When a runner's host is lost, its
            processes stand still for as long.
        renew_s: How often a runner renews its leases.
        sweep_s: How often to look for processes that nobody runs.
        cancel_grace_s: How long a process that was asked to stop may take to end.
        shutdown_grace_s: How long running processes may take to end when the runner is left; what
            has not ended then is given back, and runs again elsewhere.
        concurrency: Processes that run at a time.
        elsewhere_s: How long a process that this runner cannot run (no function for its kind, or
            another host profile) is left to other runners before it fails here; 0 for not at all.
    """

    host_profile_id: str = "default"
    lease_s: float = 900.0
    renew_s: float = 30.0
    sweep_s: float = 0.4
    cancel_grace_s: float = 5.0
    shutdown_grace_s: float = 0.0
    concurrency: int = 100
    elsewhere_s: float = 30.0

    def __post_init__(self) -> None:
        check_numbers(self)
        for name in ("lease_s", "renew_s", "sweep_s", "cancel_grace_s"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(
                    f"{name} is {getattr(self, name)}; expected seconds above 0"
                )
        if self.shutdown_grace_s < 0:
            raise ConfigurationError(
                f"shutdown_grace_s is {self.shutdown_grace_s}; expected seconds, or 0 for none"
            )
        if self.renew_s >= self.lease_s:
            raise ConfigurationError(
                f"renew_s is {self.renew_s:g} and lease_s is {self.lease_s:g}; expected to renew "
                "several times within a lease, or every lease runs out"
            )
        if not 0 <= self.elsewhere_s < float("inf"):
            raise ConfigurationError(
                f"elsewhere_s is {self.elsewhere_s}; expected seconds, or 0 to fail at once"
            )
        if self.concurrency < 1:
            raise ConfigurationError(
                f"concurrency is {self.concurrency}; expected at least 1 process at a time"
            )


class ProcessArguments(TypedDict, total=False):
    """The same as arguments, each of which may be left out; see ``Worker.processes``."""

    host_profile_id: str | None
    lease_s: float | None
    renew_s: float | None
    sweep_s: float | None
    cancel_grace_s: float | None
    shutdown_grace_s: float | None
    concurrency: int | None
    elsewhere_s: float | None
