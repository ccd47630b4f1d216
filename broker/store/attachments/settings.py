"""The settings of the attachment store, with units in the names."""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.protocol.encoding.limits import HARD_MAX_BODY_BYTES, HARD_MAX_STORED_BODY_BYTES
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.numbers import check_numbers

__all__ = ["DEFAULT_SETTINGS", "AttachmentSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentSettings:
    """
    The settings of an attachment store.

    Attributes:
        body_threshold_bytes: Bodies of messages above this size go to the store, and the message
            names them; 8 MiB at most, because the broker accepts no larger ones.
        max_body_bytes: The largest body that is kept out of line or fetched; 256 MiB at most.
        max_attachment_bytes: The largest attachment that is stored or fetched.
        timeout_s: Seconds that one operation of the store may take.
        fetches: How many bodies are fetched at a time; each may need ``max_body_bytes`` of memory.
    """

    body_threshold_bytes: int = 256 * 1024
    max_body_bytes: int = 64 * 1024 * 1024
    max_attachment_bytes: int = 64 * 1024 * 1024
    timeout_s: float = 30.0
    fetches: int = 4

    def __post_init__(self) -> None:
        check_numbers(self)
        for name, highest in (
            ("body_threshold_bytes", HARD_MAX_BODY_BYTES),
            ("max_body_bytes", HARD_MAX_STORED_BODY_BYTES),
            ("max_attachment_bytes", 2**40),
            ("fetches", 1_000),
        ):
            if not 1 <= getattr(self, name) <= highest:
                raise ConfigurationError(
                    f"{name} is {getattr(self, name)}; expected 1 to {highest}"
                )
        if not self.timeout_s > 0:
            raise ConfigurationError(f"timeout_s is {self.timeout_s}; expected seconds above 0")


DEFAULT_SETTINGS = AttachmentSettings()
