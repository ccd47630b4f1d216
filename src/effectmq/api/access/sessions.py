"""
Sessions of browsers: a cookie in the place of a token, which no script can read.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from hashlib import sha256

from effectmq.api.access.tokens import Who

__all__ = ["COOKIE", "LIFE_S", "Sessions"]

#: The name of the cookie.
COOKIE = "effectmq_session"
#: How long a session lasts, in seconds: a day's work.
LIFE_S = 12 * 3_600
#: Enough for a team; the oldest gives way.
_MOST = 1_000


class Sessions:
    """
    The sessions of this process; they end with it.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[bytes, tuple[Who, float]] = {}

    def begin(self, who: Who) -> str:
        """Open a session; returns what its cookie holds."""
        now = self._clock()
        for key in [key for key, (_, end) in self._open.items() if end <= now]:
            del self._open[key]
        while len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        secret = secrets.token_urlsafe(32)
        self._open[_key(secret)] = (who, now + LIFE_S)
        return secret

    def who(self, secret: str) -> Who | None:
        """Whose session that is; ``None`` when there is none, or no more."""
        # Found by its digest, whose beginning nobody can choose, so that no time tells it.
        found = self._open.get(_key(secret))
        return found[0] if found is not None and self._clock() < found[1] else None

    def end(self, secret: str) -> None:
        """Close a session, if there is one."""
        self._open.pop(_key(secret), None)


def _key(secret: str) -> bytes:
    return sha256(secret.encode(errors="surrogatepass")).digest()
