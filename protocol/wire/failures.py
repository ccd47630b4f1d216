"""Errors of the runtime and of its plugins, as hosts store them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import AdjacentlyTagged, WireModel

__all__ = [
    "DurabilityTier",
    "PluginError",
    "PluginErrorInvoke",
    "PluginErrorRegistration",
    "PluginErrorSession",
    "PluginErrorSnapshot",
    "RuntimeError",
    "RuntimeErrorCode",
]

#: For instance ``missing_effect_scope_id``; any other text is kept as it is.
RuntimeErrorCode = str

#: Whether effects are remembered after a restart.
DurabilityTier = Literal["inline", "durable"]


class RuntimeError(WireModel):
    """An error of the runtime, data and not an exception; shown as ``{code}: {message}``."""

    code: RuntimeErrorCode
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class PluginErrorRegistration(WireModel):
    """A plugin could not be registered."""

    type: Literal["registration"] = "registration"
    message: str

    def __str__(self) -> str:
        return f"plugin registration error: {self.message}"


class PluginErrorSnapshot(WireModel):
    """A plugin's state could not be saved or restored."""

    type: Literal["snapshot"] = "snapshot"
    message: str

    def __str__(self) -> str:
        return f"plugin snapshot error: {self.message}"


class PluginErrorInvoke(WireModel):
    """A call to a plugin failed."""

    type: Literal["invoke"] = "invoke"
    message: str

    def __str__(self) -> str:
        return f"plugin invoke error: {self.message}"


class PluginErrorSession(WireModel):
    """A session or process operation failed."""

    type: Literal["session"] = "session"
    message: str

    def __str__(self) -> str:
        return f"plugin session error: {self.message}"


PluginError = Annotated[
    PluginErrorRegistration | PluginErrorSnapshot | PluginErrorInvoke | PluginErrorSession,
    Field(discriminator="type"),
    AdjacentlyTagged("type"),
]
