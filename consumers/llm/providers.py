"""
From a row of the table to the model that answers for it.

Only this module decides whether the libraries of the extra ``llm`` are needed, and only it handles
API keys: a key goes from the variables into its client and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

from effectmq.consumers.llm.models import ModelSettings
from effectmq.consumers.llm.port import ModelProvider
from effectmq.consumers.llm.scripted import ScriptedModel
from effectmq.protocol.errors import ConfigurationError, MissingExtraError

__all__ = ["open_provider"]


def open_provider(
    name: str, settings: ModelSettings, variables: Mapping[str, str]
) -> ModelProvider:
    """
    Make the model of a row.

    Args:
        name: The row's name.
        settings: The row.
        variables: The variables that may hold the key.

    Raises:
        MissingExtraError: When the extra ``llm`` is needed and not installed.
        ConfigurationError: When the key is not among the variables.
    """
    if settings.provider == "scripted":
        return ScriptedModel(settings.script)
    key = _key(name, settings, variables)
    try:
        from effectmq.consumers.llm.hosted.adapter import hosted_model

        return hosted_model(name, settings, key)
    except ImportError:
        raise MissingExtraError(f"the model {name!r} ({settings.provider})", "llm") from None


def _key(name: str, settings: ModelSettings, variables: Mapping[str, str]) -> str | None:
    variable = settings.key_variable
    if variable is None:
        return None
    key = variables.get(variable, "").strip()
    if not key:
        raise ConfigurationError(
            f"the model {name!r} needs the API key of {settings.provider}, and the variable "
            f"{variable} is not set; set it, or name another one with api_key_env"
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            f"the variable {variable} does not hold an API key for the model {name!r}: expected "
            "printable ASCII characters on one line"
        )
    return key
