"""Which effect a command line names."""

from __future__ import annotations

import argparse

from effectmq.broker.store.journal.archive.archive import Archive
from effectmq.broker.store.journal.archive.summaries import EffectDetail
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.request import Identity

__all__ = ["meant"]


async def meant(archive: Archive, args: argparse.Namespace) -> EffectDetail:
    """
    The effect that the command line names.

    Raises:
        ConfigurationError: When it names none, or twice.
        EffectIdError: When the name fits no effect, or more than one.
    """
    if args.key:
        if args.name:
            raise ConfigurationError("give an id, or --key, but not both")
        if args.scope:
            return await archive.get_exactly(Identity(args.scope, args.key))
        return await archive.get(args.key)
    if not args.name:
        raise ConfigurationError(
            "no effect is named; give its replay key, its effect id, the beginning of its hash, or "
            "--scope and --key"
        )
    return await archive.get(args.name, scope_id=args.scope)
