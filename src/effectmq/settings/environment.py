"""
The environment, read in one place and only when something is built, never at import.

The table of settings has the variables. ``EFFECTMQ_CRASH_AT`` is not in it: for fault tests, it
names the point at which this process dies. The table of models names the variables of API keys.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from effectmq.broker import crashpoints
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable
from effectmq.settings.table import SETTINGS, Setting

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_settings import BaseSettings

__all__ = ["read_environment", "read_variable", "state_variables", "variables"]

logger = logging.getLogger("effectmq.settings")

_PREFIX = "EFFECTMQ_"
_CRASH_AT = "EFFECTMQ_CRASH_AT"
_KNOWN = frozenset((*(setting.variable for setting in SETTINGS), _CRASH_AT))
#: Programs have their own variables with this prefix; a misspelt setting is very similar to one.
_LIKE = 0.85


def variables() -> Mapping[str, str]:
    """The process's own variables, for what names the ones it needs itself."""
    return os.environ


def state_variables() -> Mapping[str, str]:
    """The variables that say where this user's state is kept."""
    return {name: os.environ[name] for name in ("HOME", "XDG_STATE_HOME") if name in os.environ}


def read_environment() -> dict[str, object]:
    """
    The settings in the environment, by the names of arguments; arms the crash point if one is
    named.

    An empty variable counts as not set.

    Raises:
        ConfigurationError: When variables cannot be used; names each of them.
    """
    crashpoints.arm(os.environ.get(_CRASH_AT, ""))
    ours = sorted(name for name in os.environ if name.startswith(_PREFIX))
    if not ours:
        return {}
    for name in ours:
        if name not in _KNOWN:
            _warn_of_slip(name)
    # The library takes a moment to import, so it is only used when there are variables.
    from pydantic import ValidationError

    try:
        found = _model()()
    except ValidationError as problem:
        raise _refused(_said(problem)) from None
    return found.model_dump(exclude_unset=True)


def read_variable(setting: Setting) -> object | None:
    """
    One setting in the environment, whatever the other variables are; ``None`` when it is not set.

    Raises:
        ConfigurationError: When its variable cannot be used.
    """
    text = os.environ.get(setting.variable, "")
    try:
        return setting.read(text) if text else None
    except ValueError as problem:
        raise _refused(f"{setting.variable}: {problem}") from None


@cache
def _warn_of_slip(name: str) -> None:
    """A slip would be a setting that silently has its default; told once for each process."""
    from difflib import get_close_matches

    for meant in get_close_matches(name, _KNOWN, n=1, cutoff=_LIKE):
        logger.warning(
            "the variable %s is no setting, and says nothing; %s is one",
            printable(name, 100),
            meant,
            extra={"action": "variable_unknown"},
        )


@cache
def _model() -> type[BaseSettings]:
    """One field for each setting, whose validator is the one that options have."""
    from pydantic import BeforeValidator, Field, create_model
    from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

    class Variables(BaseSettings):
        model_config = SettingsConfigDict(
            case_sensitive=True,
            env_ignore_empty=True,
            extra="ignore",
            hide_input_in_errors=True,
            validate_default=False,
        )

    columns: dict[str, Any] = {
        setting.name: (
            Annotated[Any, NoDecode, BeforeValidator(setting.read)],
            Field(default=None, validation_alias=setting.variable),
        )
        for setting in SETTINGS
    }
    return create_model("EffectmqVariables", __base__=Variables, **columns)


def _refused(said: str) -> ConfigurationError:
    return ConfigurationError(f"{said}. Correct the variable, or unset it")


def _said(problem: ValidationError) -> str:
    """A part of a sentence for each variable, without what stands in an address."""
    return "; ".join(
        f"{error['loc'][0]}: {error['ctx']['error'] if 'ctx' in error else 'cannot be used'}"
        for error in problem.errors(include_url=False, include_input=False)
    )
