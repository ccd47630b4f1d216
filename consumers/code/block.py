"""
One block: what it can reach while it runs, and what its outcome says afterwards.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from effectmq.consumers.code.calls import CodeCalls
from effectmq.consumers.code.data.images import Images
from effectmq.consumers.code.data.projection import projected
from effectmq.consumers.code.engine import Ran
from effectmq.consumers.code.functions import Function
from effectmq.consumers.code.host import BlockHost
from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol.wire.execution import ExecResponse

__all__ = ["Block"]


class Block:
    """
    One block of a session.

    Args:
        functions: The tools that it may call, by their names in code.
        calls: Carries them out.
        images: Takes what it shows.
        started_ms: Finds out when it was started for the first time, Unix milliseconds.
        settings: The limits.

    Attributes:
        host: What it can reach.
        calls: Carries its calls out.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        calls: CodeCalls,
        images: Images,
        started_ms: Callable[[], Awaitable[int]],
        settings: CodeSettings,
    ) -> None:
        self.host = BlockHost(functions, calls, images, started_ms, settings)
        self.calls = calls
        self._images = images
        self._settings = settings

    def response(self, ran: Ran, duration_ms: int) -> ExecResponse:
        """
        What the model gets to see, and what the runtime does with it.

        Args:
            ran: What became of the block.
            duration_ms: How long it took, waiting included.
        """
        settings = self._settings
        shown = [
            projected(
                _sendable(text),
                limit_chars=settings.observation_chars,
                max_lines=settings.observation_lines,
            )
            for text in (ran.printed, ran.value)
            if text
        ]
        # Ending the turn is an exception to the engine, and none to anybody else.
        ended = self.host.finished and ran.state is not None
        error = None if ended else ran.error
        return ExecResponse(
            observations=[text for text, _ in shown],
            observation_truncation=[metadata for _, metadata in shown],
            tool_calls=self.calls.records,
            images=self._images.made,
            printed_images=self._images.printed,
            error=error and _shortened(_sendable(error), settings.error_chars),
            duration_ms=duration_ms,
            terminal_finish=self.host.result if ended else None,
        )


def _sendable(text: str) -> str:
    """The same, with halves of surrogate pairs written out: they are no text on the wire."""
    return text.encode(errors="backslashreplace").decode()


def _shortened(text: str, limit: int) -> str:
    """Its beginning and its end: a traceback has what matters in the last line."""
    if len(text) <= limit:
        return text
    end = limit * 2 // 3
    left_out = len(text) - limit
    return f"{text[: limit - end]}\n… ({left_out} characters left out)\n{text[-end:]}"
