"""``effectmq workers``: list them, and steer them while they run."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from effectmq.broker.client.fleet.answers import Heard
from effectmq.broker.client.fleet.facts import worker_facts
from effectmq.broker.client.fleet.fleet import ANSWER_S, Fleet
from effectmq.broker.transports import open_transport
from effectmq.cli.arguments.options import (
    Commands,
    add_action,
    add_broker_options,
    add_command,
    add_full_option,
    positive,
    route,
)
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.fleet.opening import opened_fleet, say_nobody
from effectmq.cli.fleet.view import heard_table, pause_lines, roster_table
from effectmq.cli.terminal.output import complain, note, write_json, write_text
from effectmq.cli.terminal.tables import room_of
from effectmq.cli.terminal.times import seconds
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.kinds import EFFECT_KINDS

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Who works, and how: asked of every worker over the broker, which answers for
itself. Pausing, draining and another concurrency count at once; nothing that
runs is stopped for it, and nothing is run again.

  effectmq workers list
  effectmq workers pause tool_call --why 'wrong prices'
  effectmq workers resume --all
  effectmq workers drain --worker host-4711
  effectmq workers concurrency 4 llm_call

Exit code 1 when a worker that was meant did not answer."""
_LIST = """\
List the workers: name, state, effects at hand of how many it may have, routes
("!" before one that is paused), the version that effects can be bound to, how
late its event loop is, since when it runs, versions of the application and of
effectmq, and host.

With --json one object a line, with every route: {"name","host","pid",
"app_version","worker_version","version","state","detail","started_ms",
"seen_ms","loop_lag_s","in_flight","slots","routes":[{"route","slots",
"in_flight","consuming","paused","taken"}]}"""
_PAUSE = """\
Let nobody take from these routes: what runs goes on and is answered, what
comes waits. The broker keeps that, so it also counts for workers that start
later, until somebody resumes them.

  effectmq workers pause tool_call.gpu --why 'driver update'
  effectmq workers pause --all
  effectmq workers pause --worker host-4711     only this one, while it runs
  effectmq workers pause llm_call --worker host-4711"""
_RESUME = """\
Take effects again. With --all every pause ends, also those of single workers.

  effectmq workers resume tool_call.gpu
  effectmq workers resume --worker host-4711
  effectmq workers resume --all"""
_DRAIN = """\
Let workers finish what they hold and end. They take nothing more, give
nothing back and have no limit of time; `effectmq worker` ends with exit code 0
after the last effect. Background processes go to another worker. (A signal
instead ends a worker within its grace, and hands the rest to others.)

  effectmq workers drain --worker host-4711 --why 'node is replaced'"""
_CONCURRENCY = """\
Change how many effects of a route each worker runs at a time, until it ends;
then its settings count again. With fewer, nothing is stopped: it takes no more
until less is running.

  effectmq workers concurrency 4 llm_call
  effectmq workers concurrency 32 --worker host-4711
  effectmq workers concurrency 8 --all"""
_DID = """

With --json: {"worker","did","detail","in_flight"}, one object a line."""


def configure(commands: Commands) -> None:
    """Add the parsers."""
    parser = add_command(
        commands,
        "workers",
        "list, pause, resume and drain workers, and set their concurrency",
        _DESCRIPTION,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _action(actions, "list", "list the workers", _LIST)
    _steering(actions, "pause", "let nobody take from routes, or one worker from none", _PAUSE)
    _steering(actions, "resume", "take effects again", _RESUME)
    _steering(actions, "drain", "let workers finish what they hold, and end", _DRAIN)
    _steering(actions, "concurrency", "change how many effects run at a time", _CONCURRENCY)
    parser.set_defaults(run=run)


def _action(
    actions: Commands, name: str, summary: str, description: str
) -> argparse.ArgumentParser:
    action = add_action(actions, name, summary, description, place=add_broker_options)
    action.add_argument(
        "--timeout",
        type=seconds,
        default=ANSWER_S,
        metavar="TIME",
        help=f"how long workers may take to answer; default: {ANSWER_S:g}s",
    )
    add_full_option(action)
    return action


def _steering(actions: Commands, name: str, summary: str, description: str) -> None:
    action = _action(actions, name, summary, description + _DID)
    if name == "concurrency":
        action.add_argument("slots", type=positive, metavar="N", help="effects at a time")
    if name != "drain":
        action.add_argument(
            "route", nargs="*", type=route, metavar="ROUTE", help="a kind, or kind.lane"
        )
    action.add_argument(
        "--worker",
        action="append",
        default=[],
        metavar="NAME",
        help="only this worker; may be repeated",
    )
    action.add_argument("--all", action="store_true", help="every route of every worker")
    if name in ("pause", "drain"):
        action.add_argument(
            "--why", default="", metavar="TEXT", help="the reason, shown to whoever looks"
        )
    action.add_argument(
        "--by",
        default="",
        metavar="NAME",
        help="who asks, shown with it; default: the user and the host",
    )


async def run(args: argparse.Namespace) -> int:
    """
    Carry out one action.

    Raises:
        ConfigurationError: When it is not said who is meant.
        AccessRefusedError: When the user may not.
        BrokerError: When the broker cannot be used.
    """
    if args.action != "list":
        _check_meant(args)
    place = place_of(args)
    settings = place.connection_of(f"effectmq workers {args.action}")
    async with (
        open_transport(place.broker, settings) as transport,
        opened_fleet(args, transport) as fleet,
    ):
        if fleet is None:
            return say_nobody(args)
        if args.action == "list":
            return await _list(args, fleet)
        return _tell(args, await _steer(args, fleet))


def _check_meant(args: argparse.Namespace) -> None:
    """
    Whether it is said who is meant: a slip must not stop everything.

    Raises:
        ConfigurationError: When it is not, or twice.
    """
    named = [*getattr(args, "route", ()), *args.worker]
    if args.all and named:
        raise ConfigurationError(
            f"--all means every route of every worker, and {named[0]!r} was named too; leave one "
            "of them away"
        )
    if not args.all and not named:
        what = "workers with --worker NAME" if args.action == "drain" else "routes, or --worker"
        raise ConfigurationError(
            f"nothing was named to {args.action}; name {what}, or --all for everything"
        )


async def _list(args: argparse.Namespace, fleet: Fleet) -> int:
    found = await fleet.workers(timeout_s=args.timeout)
    if args.json:
        for one in found.workers:
            write_json(worker_facts(one))
    elif found.workers:
        write_text(roster_table(found.workers, room_of(args)))
        for line in pause_lines(found.workers):
            write_text(line)
    else:
        write_text("No worker runs in this namespace.")
    if not found.workers and not args.json:
        # What is paused is hard to find out when nobody is there who says it.
        for name, pause in (await fleet.paused()).items():
            note(f"{name or 'every route'} is {pause}", quiet=args.quiet)
    return _silent(found.silent)


async def _steer(args: argparse.Namespace, fleet: Fleet) -> Heard:
    workers, timeout_s = args.worker, args.timeout
    match args.action:
        case "pause":
            return await fleet.pause(args.route, workers=workers, why=args.why, timeout_s=timeout_s)
        case "resume":
            return await fleet.resume(args.route, workers=workers, timeout_s=timeout_s)
        case "drain":
            return await fleet.drain(workers, why=args.why, timeout_s=timeout_s)
        case _:
            return await fleet.set_concurrency(
                args.slots, args.route, workers=workers, timeout_s=timeout_s
            )


_CHANGED: dict[str, Callable[[str], str]] = {
    "pause": lambda name: (
        f"{name} is paused for all workers, also those that start later; "
        "effectmq workers resume ends it"
    ),
    "resume": lambda name: f"{name} is no longer paused for all workers",
}


def _tell(args: argparse.Namespace, heard: Heard) -> int:
    if args.json:
        for reply in heard.replies:
            write_json(
                {
                    "worker": reply.worker.name,
                    "did": reply.did,
                    "detail": reply.detail,
                    "in_flight": reply.worker.in_flight,
                }
            )
    elif heard.replies:
        write_text(heard_table(heard.replies, room_of(args)))
    else:
        write_text("No worker heard it.")
    for name in heard.changed:
        note(_CHANGED[args.action](name or "every route"), quiet=args.quiet)
        if args.action == "pause" and _is_lane_of_nobody(name, heard):
            # AMQP cannot list queues, so a mark is found by the name of its route only.
            note(
                f"no worker that runs has {name}; until one does, only its name resumes it: "
                f"effectmq workers resume {name}",
                quiet=args.quiet,
            )
    for name in heard.unknown:
        complain(f"there is no worker {name!r}, or it does not answer; effectmq workers list")
    refused = any(reply.did == "refused" for reply in heard.replies)
    return max(_silent(heard.silent), int(bool(heard.unknown) or refused))


def _is_lane_of_nobody(route: str, heard: Heard) -> bool:
    served = {each.route for reply in heard.replies for each in reply.worker.routes}
    return route not in EFFECT_KINDS and bool(route) and route not in served


def _silent(count: int) -> int:
    if not count:
        return 0
    complain(
        f"{count} worker(s) consume and did not answer in time: they are stuck, cut off from the "
        "broker, or of a release before this command; a longer --timeout may help"
    )
    return 1
