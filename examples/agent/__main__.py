"""
Run the agent.

::

    python -m examples.agent                                 # all in this process
    python -m examples.agent --twice                         # and again, out of the journal
    python -m examples.agent --broker amqp://localhost       # a worker process for each kind
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager

from effectmq import Client, EffectmqError
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.archive.summaries import EffectFilter
from effectmq.protocol.kinds import EFFECT_KINDS
from examples.agent.loop import Agent, AgentError

_QUESTION = "Please order 40 apples, and tell me when they are on their way."
_STOP_S = 20.0

#: Kills the workers when this process is killed: its end of the pipe is closed then.
_WATCHDOG = 'read _; kill "$@"'


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.agent", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("question", nargs="?", default=_QUESTION)
    parser.add_argument("--session", default="demo", help="the conversation")
    parser.add_argument("--turn", default="1", help="its turn; again, it is the same turn")
    parser.add_argument("--broker", help="amqp://…; default: EFFECTMQ_BROKER, else memory://")
    parser.add_argument(
        "--journal",
        help="default: EFFECTMQ_JOURNAL, else one of this run on memory://, else a file",
    )
    parser.add_argument("--namespace", help="default: EFFECTMQ_NAMESPACE, else effects")
    parser.add_argument("--no-workers", action="store_true", help="they run elsewhere")
    parser.add_argument("--twice", action="store_true", help="in a new journal, and again")
    return parser.parse_args()


async def main(args: argparse.Namespace) -> None:
    """Let the turn run where it is wanted."""
    from examples.agent.worker import app  # reads the environment

    async with AsyncExitStack() as stack:
        if app.broker.startswith("memory:"):
            await stack.enter_async_context(app)
        elif not args.no_workers:
            stack.enter_context(worker_processes())
        await turn(args, app.journal or "none")
        if args.twice:
            print("\nAgain, with an answer from the journal or none at all:\n")
            await turn(args, app.journal or "none", replay="strict")


async def turn(args: argparse.Namespace, journal: str, replay: str = "execute") -> None:
    """Run the turn, tell what happens, and count."""
    started = time.monotonic()
    async with Client(journal=journal, replay=replay) as client:
        _, before = await counted(client, journal, args.session)
        turn_id = f"{args.session}:turn-{args.turn}"
        agent = Agent(client, args.session, turn_id, say=tell)
        answer = await agent.answer(args.question)
        await agent.title(args.question)
        effects, after = await counted(client, journal, args.session)
    took_s = time.monotonic() - started
    print(f"\n{answer}\n")
    print(f"effects: {effects}; handlers ran: {after - before}; {took_s:.2f} s", flush=True)


def tell(kind: str, text: str) -> None:
    """One thing that happened."""
    print(f"{kind:<10}  {text}", flush=True)


async def counted(client: Client, journal: str, session_id: str) -> tuple[int, int]:
    """How many effects of a session the journal has, and how often handlers began one."""
    async with open_archive(journal, namespace=client.topology.namespace) as archive:
        found = await archive.find(EffectFilter(session_id=session_id), limit=10_000)
    return len(found), sum(effect.attempts for effect in found)


@contextmanager
def worker_processes() -> Iterator[None]:
    """One worker process for each kind, as long as this lasts and no longer."""
    effectmq = [sys.executable, "-m", "effectmq"]
    # So that effects can be submitted before the first worker of their kind is there.
    subprocess.run([*effectmq, "topology", "apply"], check=True, stdout=subprocess.DEVNULL)
    worker = [*effectmq, "worker", "examples.agent.worker:app", "--quiet", "--log-level", "ERROR"]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [*worker, "--kind", kind],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # a Ctrl-C is for us, and we end them
                )
            )
            for kind in EFFECT_KINDS
        ]
        pids = [str(worker.pid) for worker in workers]
        watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", *pids],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            yield
        finally:
            watchdog.kill()
            watchdog.wait()
            for process in workers:
                process.terminate()
            for process in workers:
                end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process is gone; one that does not go is killed."""
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run() -> int:
    """Put the options where this process and its workers read them, and go."""
    args = options()
    with tempfile.TemporaryDirectory(prefix="effectmq-agent-") as folder:
        if args.twice and not args.journal:
            args.journal = f"sqlite:///{folder}/journal.db"
        for name in ("broker", "journal", "namespace"):
            if getattr(args, name):
                os.environ[f"EFFECTMQ_{name.upper()}"] = getattr(args, name)
        try:
            asyncio.run(main(args))
        except (EffectmqError, AgentError) as problem:
            print(f"examples.agent: {problem}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(run())
