"""
The clock of leases on one host: the time since boot, with the name of the boot.

The wall clock may be set back an hour while a lease is held, and would then keep other workers out,
or be set forward and let two workers in. The time since boot is the same in all processes of a host
and never jumps. It starts again with the next boot, which the name shows.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

from effectmq.broker.store.database.port import LeaseTime

__all__ = ["host_lease_time"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# It counts while the machine is suspended, too. Only Linux has it; elsewhere the wall clock is
# used.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_REALTIME)


@cache
def _clock_name() -> str:
    try:
        return f"boot:{_BOOT_ID.read_text().strip()}"
    except OSError:
        return "wall"


def host_lease_time() -> LeaseTime:
    """The time now, by this host's clock of leases."""
    name = _clock_name()
    clock = _CLOCK if name != "wall" else time.CLOCK_REALTIME
    return LeaseTime(name, time.clock_gettime_ns(clock) // 1_000_000)
