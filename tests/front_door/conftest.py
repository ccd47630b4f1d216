"""Fixtures of the front door's tests."""

from __future__ import annotations

from tests.front_door.apps import write_module

__all__ = ["write_module"]
