"""
Test the sandbox before any block is run: a program that tries to get out must not succeed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial

from effectmq.consumers.code.engine import EngineCrashedError, Host, Later, Program, Ran
from effectmq.protocol.errors import ConfigurationError

__all__ = ["check"]

_PROBE = """
import json
from effectmq.consumers.code.cpython.inside.probe import breaches
print(json.dumps(breaches({port})))
"""


async def check(run: Callable[[Program, Host], Awaitable[Ran]]) -> None:
    """
    Run the program that tries to get out.

    Args:
        run: Runs a block in the sandbox.

    Raises:
        ConfigurationError: When it cannot be run, or one of its attempts succeeds; says which.
    """
    listener = await asyncio.start_server(_hang_up, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        try:
            ran = await run(Program(_PROBE.format(port=port), None, ""), _Nobody())
        except EngineCrashedError as problem:
            raise ConfigurationError(
                f"code cannot be run with the backend cpython: {problem.problem}. {_ADVICE}"
            ) from None
    found = _found(ran)
    if found:
        raise ConfigurationError(
            f"code cannot be run with the backend cpython: in the sandbox {' and '.join(found)}. "
            f"{_ADVICE}"
        )


_ADVICE = (
    "bubblewrap needs namespaces: allow them to this user (sysctl user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns) or to its "
    "container, or use the backend monty"
)


def _found(ran: Ran) -> list[str]:
    try:
        return list(json.loads(ran.printed))
    except ValueError:
        return [f"the attempts to get out could not be made ({ran.error or ran.printed!r})"]


def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


class _Nobody:
    """A host that offers nothing."""

    def knows(self, name: str) -> bool:
        return False

    def names(self) -> tuple[str, ...]:
        return ()

    def begin(
        self, name: str, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Awaitable[object]:
        return Later(partial(self.call, name, args, kwargs))

    async def call(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        raise AssertionError(name)

    async def sleep(self, duration_s: float) -> None:
        raise AssertionError(duration_s)

    async def now_ms(self) -> int:
        return 0
