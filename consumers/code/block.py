"""
One block: what it can use while it runs, and its outcome.
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
    One block of code of a session.

    Args:
        functions: The tools that it may call, by their names in code.
        calls: Carries out its calls.
        images: Keeps the images that it shows.
        started_ms: Returns when it was started for the first time, Unix milliseconds.
        settings: The limits.

    Attributes:
        host: What the block can use.
        calls: Carries out its calls.
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
        What the model is shown, and what the runtime does next.

        Args:
            ran: How the block ended.
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
        # The engine sees the end of the turn as an exception; for everybody else it is none.
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
    """The text, with halves of surrogate pairs written out: the wire cannot carry them."""
    return text.encode(errors="backslashreplace").decode()


def _shortened(text: str, limit: int) -> str:
    """The beginning and the end of a text: the last line of a traceback is the important one."""
    if len(text) <= limit:
        return text
    end = limit * 2 // 3
    left_out = len(text) - limit
    return f"{text[: limit - end]}\n… ({left_out} characters left out)\n{text[-end:]}"
