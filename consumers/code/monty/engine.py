"""
The engine on Monty, an interpreter of a subset of Python in Rust. Needs the extra ``code``.

Monty offers no files, no network and no processes; code can use only what its host gives it. Each
block runs in a process of Monty's pool, with an empty environment. A process that computes past its
limit is killed, and so is one whose block is cancelled; the pool starts another one.

Everything that could differ from one run of a block to the next comes from the host or is fixed:
the clock, the sleeps, the seed of the random numbers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import cast

from effectmq.consumers.code.cpython.inside.awaited import awaited_calls
from effectmq.consumers.code.data.values import CodeError
from effectmq.consumers.code.engine import (
    BlockStoppedError,
    EngineCrashedError,
    Host,
    Program,
    Ran,
    StateUnreadableError,
)
from effectmq.consumers.code.faults import OUT_OF_TIME, limit_reached, stopped
from effectmq.consumers.code.monty.hints import hinted, refused
from effectmq.consumers.code.monty.leaving import settle_at_exit
from effectmq.consumers.code.monty.rlimits import confine
from effectmq.consumers.code.monty.showing import shown
from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol.errors import ConfigurationError, MissingExtraError
from effectmq.protocol.text import printable

try:
    import pydantic_monty
    from pydantic_monty import (
        AsyncFunctionSnapshot,
        AsyncFutureSnapshot,
        AsyncMonty,
        AsyncMontySession,
        AsyncNameLookupSnapshot,
        AsyncSnapshot,
        CollectString,
        ExternalSettledResult,
        MontyComplete,
        MontyCrashedError,
        MontyError,
        OSPolicy,
        ResourceLimits,
    )
except ImportError as missing:
    raise MissingExtraError("running code with Monty", "code") from missing

__all__ = ["MontyEngine"]

#: The time after the block's own limit until its process is killed, in seconds.
_KILL_GRACE_S = 2.0
#: How often a block may ask for the time, for files and for names. Calls and sleeps, which ask up
#: to twice, are counted apart.
_MOST_QUESTIONS = 2_000


class MontyEngine:
    """
    A pool of Monty processes.

    Args:
        settings: The limits.
    """

    def __init__(self, settings: CodeSettings) -> None:
        self.name = f"monty {pydantic_monty.__version__}"
        self._settings = settings
        self._pool: AsyncMonty | None = None
        # A longer text than anybody will see would only block the worker.
        self._value_chars = 4 * settings.observation_chars
        self._limits = ResourceLimits(
            max_feed_duration_secs=settings.time_limit_s,
            max_memory=settings.memory_bytes,
            max_recursion_depth=settings.max_recursion_depth,
            max_suspensions=_MOST_QUESTIONS + 2 * (settings.max_tool_calls + settings.max_sleeps),
        )

    async def __aenter__(self) -> MontyEngine:
        """Start the warm processes; see the port."""
        settings = self._settings
        try:
            pool = AsyncMonty(
                min_processes=settings.warm_processes,
                max_processes=settings.processes,
                request_timeout=settings.time_limit_s + 2 * _KILL_GRACE_S,
                feed_duration_limit_grace=_KILL_GRACE_S,
                max_checkouts_per_worker=settings.blocks_per_process,
            )
            await pool.__aenter__()
        except (RuntimeError, OSError) as problem:
            raise ConfigurationError(
                f"the processes that run code cannot be started: {printable(str(problem))}; "
                "install them anew: pip install --force-reinstall 'effectmq[code]'"
            ) from None
        settle_at_exit()
        self._pool = pool
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End the processes; see the port."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.__aexit__(None, None, None)

    async def run(self, program: Program, host: Host) -> Ran:
        """See the port."""
        if self._pool is None:
            raise ConfigurationError(
                "the engine has not been started; use it inside 'async with', or start the worker "
                "that it was added to"
            )
        never = refused(program.code)
        if never is not None:
            return Ran(error=never, state=program.state)
        printed = CollectString(self._settings.output_bytes)
        policy = OSPolicy(
            datetime="call_host",
            sleep="call_host",
            random_start={"seed": program.seed},
        )
        checkout = self._pool.checkout(limits=self._limits, os_policy=policy)
        async with AsyncExitStack() as stack:
            try:
                session = await stack.enter_async_context(checkout)
            except (MontyError, RuntimeError, OSError) as problem:
                raise EngineCrashedError(printable(str(problem), 300)) from None
            if session.worker_pid is not None:
                confine(session.worker_pid, self._settings.memory_bytes)
            if program.state is not None:
                await _load(session, program.state)
            return await self._run(session, program.code, host, printed)

    async def _run(
        self, session: AsyncMontySession, code: str, host: Host, printed: CollectString
    ) -> Ran:
        try:
            return await self._to_the_end(session, code, host, printed)
        except BlockStoppedError as stop:
            return Ran(printed.output, error=stopped(stop.sentence, stop.details))
        except MontyCrashedError as crash:
            reached = limit_reached(OUT_OF_TIME, self._settings) if crash.timed_out else None
            if reached is None:
                raise EngineCrashedError(printable(str(crash), 300)) from None
            return Ran(printed.output, error=stopped(reached.sentence))

    async def _to_the_end(
        self, session: AsyncMontySession, code: str, host: Host, printed: CollectString
    ) -> Ran:
        value, error = "", None
        try:
            complete = await _Drive(host, code).through(
                await session.feed_start(code, print_callback=printed)
            )
            last: object = complete.output
            value = "" if last is None else shown(last, self._value_chars)
        except MontyCrashedError:
            raise
        except MontyError as problem:
            # As at a prompt, its changes before the error remain, unless a limit was reached.
            error = self._error(problem)
        return Ran(printed.output, value, error, await self._dump(session))

    def _error(self, problem: MontyError) -> str:
        text = _traceback(problem)
        reached = limit_reached(str(problem), self._settings)
        if reached is None:
            return hinted(text, str(problem))
        if not reached.sound:
            raise BlockStoppedError(reached.sentence, text) from None
        return f"{reached.sentence}\n{text}"

    async def _dump(self, session: AsyncMontySession) -> bytes:
        try:
            return await session.dump()
        except MontyCrashedError:
            raise
        except MontyError as problem:
            # Writing the variables takes memory, too.
            self._error(problem)
            raise EngineCrashedError(printable(str(problem), 300)) from None


async def _load(session: AsyncMontySession, state: bytes) -> None:
    try:
        await session.load_session(state)
    except MontyCrashedError as crash:
        raise EngineCrashedError(printable(str(crash), 300)) from None
    except MontyError as problem:
        raise StateUnreadableError(printable(str(problem), 300)) from None


def _traceback(problem: MontyError) -> str:
    display = getattr(problem, "display", None)
    return str(display()) if display is not None else str(problem)


class _Drive:
    """Drives one block, from each question to its host to the next."""

    def __init__(self, host: Host, code: str) -> None:
        self._host = host
        self._code = code.encode(errors="surrogatepass")
        self._waited_later = _offsets(code, host.names())
        #: Answers that the code has not awaited yet, by the numbers of its calls.
        self._answers: dict[int, Callable[[], Awaitable[ExternalSettledResult]]] = {}

    async def through(self, step: AsyncSnapshot) -> MontyComplete:
        while not isinstance(step, MontyComplete):
            match step:
                case AsyncFunctionSnapshot():
                    step = await self._call(step)
                case AsyncNameLookupSnapshot():
                    step = await self._name(step)
                case AsyncFutureSnapshot():
                    # The oldest first and alone, whatever is ready: so the code goes on in the
                    # same order in every run.
                    first = min(step.pending_call_ids)
                    step = await step.resume({first: await self._answers.pop(first)()})
        return step

    async def _name(self, step: AsyncNameLookupSnapshot) -> AsyncSnapshot:
        name = step.variable_name
        if step.object_id is not None or not self._host.knows(name):
            return await step.resume()
        return await step.resume(value=_placeholder(name))

    async def _call(self, step: AsyncFunctionSnapshot) -> AsyncSnapshot:
        name = step.function_name
        if step.is_os_function and name not in _OF_THE_HOST:
            return await step.resume_not_handled()
        if not step.allow_eager_await and self._is_waited_later(step):
            self._answers[step.call_id] = self._begun(step)
            return await step.resume({"future": ...})
        answer = await self._answer(step)
        if step.allow_eager_await or name == "asyncio.sleep":
            self._answers[step.call_id] = partial(_at_hand, answer)
            return await step.resume({"future": ...})
        return await step.resume(answer)

    def _is_waited_later(self, step: AsyncFunctionSnapshot) -> bool:
        """Whether the block awaits this call later; unknown for functions of earlier blocks."""
        where, name = step.position, str(step.function_name).encode()
        return where.start in self._waited_later and self._code.startswith(name, where.start)

    def _begun(self, step: AsyncFunctionSnapshot) -> Callable[[], Awaitable[ExternalSettledResult]]:
        try:
            begun = self._host.begin(str(step.function_name), step.args, step.kwargs)
        except CodeError as error:
            return partial(_at_hand, _raised(error))
        return partial(_settled, begun)

    async def _answer(self, step: AsyncFunctionSnapshot) -> ExternalSettledResult:
        try:
            if step.is_os_function:
                return {"return_value": await self._of_the_host(step)}
            name = step.function_name
            if not self._host.knows(name):
                raise CodeError("NameError", f"name '{name}' is not defined")
            return {"return_value": await self._host.call(name, step.args, step.kwargs)}
        except CodeError as error:
            return _raised(error)

    async def _of_the_host(self, step: AsyncFunctionSnapshot) -> object:
        if step.function_name in ("time.sleep", "asyncio.sleep"):
            await self._host.sleep(float(step.args[0]))
            return None
        seconds = await self._host.now_ms() / 1_000
        if step.function_name == "time.time":
            return seconds
        zone: tzinfo | None = step.args[0] if step.args else None
        now = datetime.fromtimestamp(seconds, zone or UTC)
        if step.function_name == "date.today":
            return now.date()
        return now if zone is not None else now.replace(tzinfo=None)


_OF_THE_HOST = frozenset(("time.sleep", "asyncio.sleep", "time.time", "datetime.now", "date.today"))


def _offsets(code: str, names: Collection[str]) -> frozenset[int]:
    """The positions of calls that are awaited later, in bytes from the beginning."""
    starts = [0]
    for line in code.split("\n"):
        starts.append(starts[-1] + len(line.encode(errors="replace")) + 1)
    return frozenset(starts[line - 1] + at for line, at in awaited_calls(code, names))


def _raised(error: CodeError) -> ExternalSettledResult:
    # Checked where it is raised: it is the name of a built-in exception.
    return cast("ExternalSettledResult", {"exc_type": error.exception, "message": error.message})


async def _at_hand(answer: ExternalSettledResult) -> ExternalSettledResult:
    return answer


async def _settled(begun: Awaitable[object]) -> ExternalSettledResult:
    try:
        return {"return_value": await begun}
    except CodeError as error:
        return _raised(error)


def _placeholder(name: str) -> object:
    """A function that stands for a tool in the code; only its name crosses."""

    def function() -> None: ...

    function.__name__ = function.__qualname__ = name
    return function
