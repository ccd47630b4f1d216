"""The effect kinds ``checkpoint`` and ``sync_execution_surface``."""

from __future__ import annotations

from effectmq.consumers.sessions.checkpoint import (
    CheckpointAbortError,
    CheckpointContext,
    CheckpointHandler,
    CheckpointHook,
)
from effectmq.consumers.sessions.surface import PromptProvider, SurfaceHandler

__all__ = [
    "CheckpointAbortError",
    "CheckpointContext",
    "CheckpointHandler",
    "CheckpointHook",
    "PromptProvider",
    "SurfaceHandler",
]
