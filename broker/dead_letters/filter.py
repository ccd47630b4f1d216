"""Which dead letters are meant; the same choice is made in the index and in the queue."""

from __future__ import annotations

from effectmq.broker.store.letters.filter import EVERY_LETTER, DeadFilter

__all__ = ["EVERY_LETTER", "DeadFilter"]
