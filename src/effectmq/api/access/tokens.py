"""
Tokens with a role, and who is meant by one.

Only digests are kept and compared, in constant time and always with all of them, so that neither
the memory of the process nor the time of an answer tells a token.
"""

from __future__ import annotations

import getpass
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = ["NO_TOKENS", "ROLES", "Role", "Token", "Tokens", "Who", "local_user"]

Role: TypeAlias = Literal["read", "operate"]

#: The roles, and what each may do.
ROLES: dict[Role, str] = {
    "read": "look at everything, payloads included",
    "operate": "look, and change: replay, edit, purge, cancel, submit, ping, steer workers",
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}")
_DIGEST = re.compile(r"sha256=([0-9a-f]{64})")
#: Shorter ones can be guessed.
_LEAST_CHARACTERS = 16
_EXPECTED = (
    "expected NAME:ROLE:TOKEN, where ROLE is read or operate and TOKEN has at least "
    f"{_LEAST_CHARACTERS} characters, or is sha256= and the digest of one; several are separated "
    "by commas, or stand on lines of a file that is named as @/path/to/file"
)


@dataclass(frozen=True, slots=True)
class Who:
    """
    Who asks.

    Attributes:
        name: The token's name; it is what the audit keeps.
        role: What they may do.
    """

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Token:
    """
    A token that is accepted.

    Attributes:
        who: Whose it is.
        digest: SHA-256 of the token; the token itself is not kept.
    """

    who: Who
    digest: bytes


class Tokens:
    """
    The tokens that are accepted.

    Args:
        tokens: All of them.
    """

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self._tokens = tuple(tokens)

    def __bool__(self) -> bool:
        return bool(self._tokens)

    @classmethod
    def read(cls, text: str) -> Tokens:
        """
        The tokens of a setting: ``NAME:ROLE:TOKEN``, separated by commas, or ``@`` and a file with
        one on each line.

        Raises:
            ConfigurationError: When one is none, or the file cannot be read. The token is not told.
        """
        text = text.strip()
        if not text:
            return cls()
        parts = _lines(text[1:]) if text.startswith("@") else text.split(",")
        found = [_token(place, part.strip()) for place, part in enumerate(parts, 1) if part.strip()]
        if not found:
            raise ConfigurationError(f"there is no token where tokens should be; {_EXPECTED}")
        names = [token.who.name for token in found]
        for name in names:
            if names.count(name) > 1:
                raise ConfigurationError(
                    f"two tokens have the name {name!r}, which is what the audit keeps; give each "
                    "its own"
                )
        return cls(found)

    def who(self, secret: str) -> Who | None:
        """Whose token that is; ``None`` for nobody's."""
        digest = sha256(secret.encode(errors="surrogatepass")).digest()
        found: Who | None = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token.who
        return found


#: Nobody needs a token: whoever reaches the address may do everything.
NO_TOKENS = Tokens()


def local_user() -> str:
    """The user of the operating system, as the name of who needs no token."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container may run under a number that has no name.
        return "local"


def _lines(path: str) -> list[str]:
    try:
        text = Path(path.strip()).read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is no text"
        raise ConfigurationError(
            f"the file of tokens {printable(path, 200)!r} cannot be read: {why}"
        ) from None
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]


def _token(place: int, text: str) -> Token:
    name, first, rest = text.partition(":")
    role, second, secret = rest.partition(":")
    if not (first and second and _NAME.fullmatch(name.strip())):
        raise ConfigurationError(f"token {place} cannot be used: it has no name; {_EXPECTED}")
    name, role, secret = name.strip(), role.strip(), secret.strip()
    if role not in ("read", "operate"):
        raise ConfigurationError(
            f"the token {name!r} has no role that there is: found {printable(role, 40)!r}; "
            f"{_EXPECTED}"
        )
    kept = _DIGEST.fullmatch(secret)
    if kept is None and len(secret) < _LEAST_CHARACTERS:
        raise ConfigurationError(f"the token {name!r} is too short to be safe; {_EXPECTED}")
    digest = bytes.fromhex(kept[1]) if kept else sha256(secret.encode()).digest()
    return Token(Who(name, "operate" if role == "operate" else "read"), digest)
