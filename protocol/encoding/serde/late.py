"""
Wire types that are loaded late.

A field of such a type is annotated with ``Any`` and a ``Late``. What is made of the field is made
of the type itself: its readers, its writers, its JSON Schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema

__all__ = ["Late"]


@dataclass(frozen=True, slots=True)
class Late:
    """
    Stands for a wire type until a schema is made of it; for ``Annotated`` with ``Any``.

    Args:
        module: Where it is.
        name: Its name there.
    """

    module: str
    name: str

    def load(self) -> Any:
        """The type itself."""
        return getattr(import_module(self.module), self.name)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return handler.generate_schema(self.load())
