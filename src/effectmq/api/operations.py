"""
What goes on for longer than a request: replays, edits, purges, cancels.

They belong to this process. Who did what is in the audit, which all processes share; an operation
that is stopped, or ends with the process, is there as interrupted, and has lost nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from effectmq.api.problems import ProblemError
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.text import describe, printable

__all__ = ["Action", "Operations", "Running"]

logger = logging.getLogger("effectmq.api")

Action = Literal["replay", "edit", "purge", "cancel", "prune", "verify"]

#: So many go on at a time, and so many that have ended are remembered.
_MOST_RUNNING = 8
_REMEMBERED = 100


@dataclass(slots=True)
class Running:
    """
    One operation.

    Attributes:
        id: Names it.
        action: What is done.
        who: By whom.
        dry_run: Whether nothing is changed.
        choice: What was chosen, as JSON data.
        state: Whether it goes on, and how it ended.
        began_ms: When it began, Unix milliseconds.
        ended_ms: When it ended; ``None`` while it goes on.
        done: How many have had their turn.
        total: How many there are; ``None`` until it is known.
        report: The counts, when it has ended.
        problem: Why it failed or ended early; empty otherwise.
    """

    id: str
    action: Action
    who: str
    dry_run: bool
    choice: Mapping[str, Any]
    state: Literal["running", "done", "stopped", "failed"] = "running"
    began_ms: int = 0
    ended_ms: int | None = None
    done: int = 0
    total: int | None = None
    report: dict[str, Any] | None = None
    problem: str = ""
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    def progress(self, done: int, total: int | None = None) -> None:
        """So many have had their turn, of so many."""
        self.done = done
        if total is not None:
            self.total = total

    def facts(self) -> dict[str, Any]:
        """The operation as JSON data."""
        return {
            "id": self.id,
            "action": self.action,
            "who": self.who,
            "dry_run": self.dry_run,
            "state": self.state,
            "began_ms": self.began_ms,
            "ended_ms": self.ended_ms,
            "done": self.done,
            "total": self.total,
            "choice": dict(self.choice),
            "report": self.report,
            "problem": self.problem or None,
        }


class Operations:
    """The operations of one application."""

    def __init__(self) -> None:
        self._known: dict[str, Running] = {}
        #: Grows with each begin, step and end.
        self.version = 0

    def begin(
        self,
        action: Action,
        who: str,
        choice: Mapping[str, Any],
        act: Callable[[Running], Awaitable[dict[str, Any]]],
        *,
        dry_run: bool = False,
    ) -> Running:
        """
        Begin one.

        Args:
            action: What is done.
            who: By whom.
            choice: What was chosen, as JSON data.
            act: Does it; tells its progress, and returns its report.
            dry_run: Whether nothing is changed.

        Raises:
            ProblemError: When too many go on.
        """
        if sum(each.state == "running" for each in self._known.values()) >= _MOST_RUNNING:
            raise ProblemError(
                429,
                "too_many_operations",
                f"{_MOST_RUNNING} operations go on already; wait for one of them, or stop one",
                headers={"Retry-After": "5"},
            )
        ended = [each.id for each in self._known.values() if each.state != "running"]
        for operation_id in ended[: max(0, len(self._known) - _REMEMBERED + 1)]:
            del self._known[operation_id]
        running = Running(
            secrets.token_hex(8), action, who, dry_run, choice, began_ms=round(time.time() * 1_000)
        )
        self._known[running.id] = running
        running.task = asyncio.get_running_loop().create_task(
            self._carry_out(running, act), name=f"effectmq api {action}"
        )
        self.version += 1
        return running

    def every(self) -> list[Running]:
        """All that are known, the newest first."""
        return list(reversed(self._known.values()))

    def get(self, operation_id: str) -> Running:
        """
        One of them.

        Raises:
            ProblemError: When there is none.
        """
        found = self._known.get(operation_id)
        if found is None:
            raise ProblemError(
                404,
                "no_such_operation",
                f"there is no operation {printable(operation_id, 100)!r} in this process; what "
                "ended long ago is in the audit",
            )
        return found

    async def stop(self, operation_id: str) -> Running:
        """
        Stop one; what it has not got to stays as it is.

        Raises:
            ProblemError: When there is none.
        """
        running = self.get(operation_id)
        if running.task is not None and not running.task.done():
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)
        return running

    async def close(self) -> None:
        """Stop them all."""
        for running in self.every():
            await self.stop(running.id)

    async def _carry_out(
        self, running: Running, act: Callable[[Running], Awaitable[dict[str, Any]]]
    ) -> None:
        try:
            running.report = await act(running)
            running.problem = str(running.report.get("stopped") or "")
            running.state = "done"
        except asyncio.CancelledError:
            running.state = "stopped"
            running.problem = "somebody stopped it; what it had not got to is still there"
        except EffectmqError as problem:
            running.state = "failed"
            running.problem = printable(describe(problem))
        except Exception as defect:
            running.state = "failed"
            running.problem = "a defect of effectmq; the log of the API has its traceback"
            logger.exception(
                "the operation %s failed by a defect",
                running.id,
                exc_info=defect,
                extra={"action": "operation_failed", "operation": running.id},
            )
        finally:
            running.ended_ms = round(time.time() * 1_000)
            self.version += 1
