"""The root of the error tree, and what is wrong with a setting."""

from __future__ import annotations

__all__ = [
    "CodedError",
    "ConfigurationError",
    "EffectmqError",
    "MissingExtraError",
    "UnavailableError",
]


class EffectmqError(Exception):
    """Base of every error that effectmq raises on purpose."""


class CodedError(EffectmqError):
    """
    An error that has a code, of the wire format or of a handler.

    Args:
        code: A short stable name for a program to branch on.
        message: A sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


class UnavailableError(EffectmqError):
    """
    Something that effectmq works with could not be used: a broker, a database, a store.

    Args:
        problem: What was found and what to do.
        lasting: Whether trying again is useless until somebody changes an address or a setting.
    """

    def __init__(self, problem: str, *, lasting: bool = False) -> None:
        self.lasting = lasting
        super().__init__(problem)


class ConfigurationError(EffectmqError):
    """A setting, an argument or a file that the user gave cannot be used."""


class MissingExtraError(ConfigurationError):
    """
    An optional package is not installed.

    Args:
        feature: The feature that needs it, as a noun phrase.
        extra: The extra of this distribution that brings the package.
    """

    def __init__(self, feature: str, extra: str) -> None:
        self.feature = feature
        self.extra = extra
        super().__init__(
            f"{feature} needs a package that is not installed; run: pip install 'effectmq[{extra}]'"
        )
