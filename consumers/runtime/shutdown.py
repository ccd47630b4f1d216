"""
Signals: the first asks for a graceful stop, the second for an immediate one.

Signals under asyncio: handlers installed with ``signal.signal`` run between two byte codes of the
main thread and must not touch the loop, so ``loop.add_signal_handler`` is used. It works in the
main thread only; a program that embeds a worker elsewhere keeps its own handling. When the worker
has stopped, the signal is raised again with its previous handling, so that the parent sees the true
reason of the exit.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["StopSignals", "stop_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """The stop signals that have arrived so far."""

    def __init__(self) -> None:
        self.graceful = asyncio.Event()
        self.immediate = asyncio.Event()
        self.captured: list[signal.Signals] = []

    def ask(self, number: signal.Signals) -> None:
        """One more signal."""
        self.captured.append(number)
        (self.immediate if self.graceful.is_set() else self.graceful).set()


@contextmanager
def stop_signals(told: Callable[[str], None]) -> Generator[StopSignals]:
    """
    Capture SIGINT and SIGTERM while the body runs, then raise the captured one again.

    Args:
        told: Gets a line for the operator at each signal.
    """
    signals = StopSignals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    loop = asyncio.get_running_loop()
    previous = {number: signal.getsignal(number) for number in _SIGNALS}

    def capture(number: signal.Signals) -> None:
        signals.ask(number)
        if signals.immediate.is_set():
            told("stopping now; what is unfinished goes to another worker")
        else:
            told("finishing what runs; send the signal again to stop now")

    for number in _SIGNALS:
        loop.add_signal_handler(number, capture, number)
    try:
        yield signals
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, previous[number])
    if signals.captured:
        signal.raise_signal(signals.captured[0])
