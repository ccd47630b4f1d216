"""The name of a transfer of processes."""

from __future__ import annotations

from collections.abc import Iterable

from effectmq.protocol.encoding.canonical import digest

__all__ = ["transfer_digest"]


def transfer_digest(process_ids: Iterable[str]) -> str:
    """
    Return the digest of the ids of a transfer, in the order given.

    Raises:
        MalformedError: When one of them is a text that JSON cannot hold.
    """
    return digest(list(process_ids))
