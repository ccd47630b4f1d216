"""``effectmq effects prune``: one finished effect, whatever its age."""

from __future__ import annotations

import argparse

from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.cli.arguments.journal_options import journal_of, namespace_of
from effectmq.cli.effects.naming import meant
from effectmq.cli.terminal.output import write_json, write_text
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = ["prune"]


async def prune(args: argparse.Namespace) -> int:
    """
    Prune the effect that is named; the exit code is 1 when it changed in this moment.

    Raises:
        ConfigurationError: When it is not one to prune, or that was not confirmed.
        EffectIdError: When the name fits no effect, or more than one.
    """
    async with open_archive(journal_of(args), namespace=namespace_of(args)) as archive:
        effect = await meant(archive, args)
        name = printable(effect.effect_id or effect.identity.replay_key, 200)
        if not args.yes:
            raise ConfigurationError(
                f"effect {name} ({effect.kind}, {effect.status}, {effect.hash[:12]}) was not "
                "pruned: what is pruned is gone. Add --yes to do it"
            )
        done = await archive.prune_one(effect, keep_key=not args.forget_key, parked=args.parked)
    if args.json:
        write_json(
            {
                "scope_id": effect.identity.scope_id,
                "replay_key": effect.identity.replay_key,
                "effect_id": effect.effect_id or None,
                "pruned": done,
                "key_kept": not args.forget_key,
            }
        )
    elif done:
        kept = "nothing is kept" if args.forget_key else "its key and hash are kept"
        write_text(f"effect {name} is pruned; {kept}")
    else:
        write_text(f"effect {name} was not pruned: it changed in this moment. Look again")
    return int(not done)
