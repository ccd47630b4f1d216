"""What was settled in the last minutes, in buckets that are read once when they are over."""

from __future__ import annotations

from effectmq.broker.store.journal.archive.archive import Archive

__all__ = ["BUCKET_S", "History"]

#: How long a bucket is, in seconds, and how many there are: a quarter of an hour.
BUCKET_S = 30
_BUCKETS = 30
_BUCKET_MS = BUCKET_S * 1_000
#: A change may become visible a little after its time.
_LATE = 2


class History:
    """
    The last buckets.

    Attributes:
        running: By kind: how many are in progress, and when the one changed that has not changed
            for the longest, Unix milliseconds.
    """

    def __init__(self) -> None:
        self.running: dict[str, tuple[int, int]] = {}
        self._settled: dict[tuple[str, int, bool], int] = {}
        self._newest = 0
        self._now_ms = 0

    async def refresh(self, archive: Archive, now_ms: int) -> None:
        """
        Read what is new.

        Args:
            archive: The journal.
            now_ms: Its clock.

        Raises:
            DatabaseUnavailableError: When it cannot be read.
        """
        newest = now_ms // _BUCKET_MS
        oldest = newest - _BUCKETS + 1
        begin = max(oldest, self._newest - _LATE)
        found = await archive.activity(since_ms=begin * _BUCKET_MS, bucket_ms=_BUCKET_MS)
        kept = {key: count for key, count in self._settled.items() if oldest <= key[1] < begin}
        kept.update(
            {(kind, begin + at, failed): n for (kind, at, failed), n in found.settled.items()}
        )
        self._settled, self.running = kept, found.running
        self._newest, self._now_ms = newest, now_ms

    def of(self, kind: str) -> tuple[list[int], list[int]]:
        """How many were settled in each bucket, the oldest first, and how many of them failed."""
        buckets = range(self._newest - _BUCKETS + 1, self._newest + 1)
        failed = [self._settled.get((kind, each, True), 0) for each in buckets]
        well = [self._settled.get((kind, each, False), 0) for each in buckets]
        return [one + other for one, other in zip(well, failed, strict=True)], failed

    def rate(self, kind: str) -> float:
        """How many were settled a second, in the last minute or so."""
        settled, _ = self.of(kind)
        span_s = 2 * BUCKET_S + (self._now_ms % _BUCKET_MS) / 1_000
        return round(sum(settled[-3:]) / span_s, 3)
