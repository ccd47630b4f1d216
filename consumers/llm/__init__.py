"""
The kinds ``llm_call`` and ``direct``: language models behind one port.

``read_models`` reads a table of models from plain data, ``llm_handlers`` makes the two handlers of
it, and ``ScriptedModel`` answers without a network. Real providers need the extra ``llm``; the
library of a provider is imported only when a model of that provider is configured.
"""

from __future__ import annotations

from effectmq.consumers.llm.calls import AttachmentSource, ConfiguredModel, ModelCalls
from effectmq.consumers.llm.handler import DirectHandler, LlmCallHandler, llm_handlers
from effectmq.consumers.llm.hooks import TurnHooks
from effectmq.consumers.llm.models import ModelSettings, read_models
from effectmq.consumers.llm.port import CallFailure, ModelCallError, ModelProvider, Prompt
from effectmq.consumers.llm.scripted import ScriptedModel

__all__ = [
    "AttachmentSource",
    "CallFailure",
    "ConfiguredModel",
    "DirectHandler",
    "LlmCallHandler",
    "ModelCallError",
    "ModelCalls",
    "ModelProvider",
    "ModelSettings",
    "Prompt",
    "ScriptedModel",
    "TurnHooks",
    "llm_handlers",
    "read_models",
]
