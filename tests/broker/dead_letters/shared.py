"""
What looks and replays of very many dead letters take, with an index, on a broker of our own.

``python -m tests.broker.dead_letters.shared 100000`` publishes them, walks, looks, counts and
replays, and says how long each took and how much the memory of this process grew at its peak. In
the end each letter is back in its work queue, once. ``--journal URL`` keeps the index there,
``--broker URL`` takes a broker that runs already.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable

from effectmq.broker.dead_letters.desk import DeadDesk
from effectmq.broker.dead_letters.filter import EVERY_LETTER, DeadFilter
from effectmq.broker.transports import open_transport
from tests.broker.dead_letters.stage import KINDS, DeadStage, dead_stage
from tests.brokers.finding import installed_on_path
from tests.brokers.node import BrokerNode

_NAMESPACE = "t-shared"
_AT_ONCE = 500
_TRIES = 9
_REASONS = ("exhausted", "rejected", "expired")


def resident_kib() -> int:
    """The memory of this process."""
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


async def fill(stage: DeadStage, count: int) -> None:
    """Park so many tool calls and blocks of code of about a kilobyte."""
    for start in range(0, count, _AT_ONCE):
        await asyncio.gather(
            *(
                stage.park(
                    stage.call({"amount": number, "note": "n" * 600}, f"call-{number}"),
                    reason=_REASONS[number % 3],
                    code=f"bank_{number % 7}",
                    detail=f"account {number} of 'somebody' is closed",
                )
                for number in range(start, min(count, start + _AT_ONCE))
            )
        )


class Meter:
    """Says how long something took, and what it left in memory."""

    async def timed(self, what: str, act: Callable[[], Awaitable[object]], tries: int = 1) -> None:
        """Do it so many times; the median."""
        peak = before = resident_kib()
        ended = asyncio.Event()

        async def watch() -> None:
            nonlocal peak
            while not ended.is_set():
                peak = max(peak, resident_kib())
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(watch())
        times: list[float] = []
        for _ in range(tries):
            started = time.perf_counter()
            await act()
            times.append(time.perf_counter() - started)
        ended.set()
        await watching
        grown = (max(peak, resident_kib()) - before) / 1_024
        print(f"{statistics.median(times) * 1_000:10.1f} ms  +{grown:6.1f} MiB  {what}", flush=True)


async def run(url: str, count: int, database: str) -> None:
    """Measure everything once."""
    meter = Meter()
    async with dead_stage(url, _NAMESPACE) as stage:
        await meter.timed(f"{count} letters parked", lambda: fill(stage, count))
    async with (
        open_transport(url) as transport,
        DeadDesk(transport, stage.topology, database=database, who="measure") as desk,
    ):
        await meter.timed("first walk, everything is new", desk.walk)
        await meter.timed("second walk, everything is known", desk.walk)
        await meter.timed("refresh, the numbers agree", desk.refresh, _TRIES)
        await meter.timed("first page of 200", lambda: desk.page(limit=200), _TRIES)
        await meter.timed(
            "first page of 200, newest first",
            lambda: desk.page(limit=200, newest_first=True),
            _TRIES,
        )
        for chosen in (
            DeadFilter(reasons=("expired",), tools=("pay",)),
            DeadFilter(text="account 99999"),
            DeadFilter(sessions=("nobody",)),
        ):
            name = " ".join(str(part) for part in (chosen.reasons, chosen.text, chosen.sessions))

            async def page(chosen: DeadFilter = chosen) -> object:
                return await desk.page(chosen, limit=200)

            await meter.timed(f"page of a choice: {name}", page, _TRIES)
        await meter.timed("facets of all", desk.facets, _TRIES)
        await meter.timed(
            "facets of a choice", lambda: desk.facets(DeadFilter(reasons=("expired",))), _TRIES
        )
        [first] = (await desk.page(limit=1, newest_first=True)).letters
        await meter.timed("one letter found by its id", lambda: desk.find(first.id), _TRIES)
        await meter.timed(
            "dry run of a replay of all", lambda: desk.replay(EVERY_LETTER, dry_run=True)
        )
        await meter.timed(
            "replay of a third, as fast as it goes",
            lambda: desk.replay(DeadFilter(reasons=("expired",)), rate=1e9),
        )
        await meter.timed(
            "replay of the rest, as fast as it goes", lambda: desk.replay(EVERY_LETTER, rate=1e9)
        )
        assert (await desk.refresh()).messages == 0
        found = [await transport.stats(stage.names.work_queue(kind)) for kind in KINDS]
        back = sum(each.ready for each in found if each is not None)
        assert back == count, f"{back} of {count} are back in their queues"
        print(f"{back} of {count} letters are back in their queues, none is left", flush=True)


def main() -> None:
    """Run on the broker that is named, or on the RabbitMQ of the PATH."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=100_000)
    parser.add_argument("--journal", default="")
    parser.add_argument("--broker", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database: str = given.journal or f"sqlite:///{folder}/letters.db"
        if given.broker:
            asyncio.run(run(given.broker, given.count, database))
            return
        installation = installed_on_path()
        if installation is None:
            raise SystemExit("there is no rabbitmq-server on the PATH; name one with --broker")
        with BrokerNode(installation) as node:
            asyncio.run(run(node.url, given.count, database))


if __name__ == "__main__":
    main()
