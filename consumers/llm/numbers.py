"""What the models of a worker count: requests, tokens, refusals."""

from __future__ import annotations

from collections.abc import Iterator

from effectmq.broker.metrics import catalog
from effectmq.broker.metrics.instruments import Histogram, Reading, Tally
from effectmq.protocol.wire.llm_response import LlmUsage

__all__ = ["ModelNumbers"]

_LIMITED = "rate_limited"
_NANOS = 1_000_000_000


class ModelNumbers:
    """The counts of each model, by the name that requests use for it."""

    def __init__(self) -> None:
        self._calls = Tally(catalog.MODEL_CALLS)
        self._tokens = Tally(catalog.MODEL_TOKENS)
        self._limited = Tally(catalog.MODEL_LIMITED)
        #: In billionths of a dollar, so that sums are exact.
        self._cost = Tally(catalog.MODEL_COST)

    def answered(self, model: str, usage: LlmUsage) -> None:
        """A provider has answered."""
        self._calls.add(model, "success")
        self._tokens.add(model, "input", by=usage.input_tokens)
        self._tokens.add(model, "output", by=usage.output_tokens)
        self._tokens.add(model, "cached_input", by=usage.cached_input_tokens)
        self._tokens.add(model, "reasoning", by=usage.reasoning_tokens)

    def paid(self, model: str, nanos: int) -> None:
        """A call has cost so many billionths of a US dollar."""
        self._cost.add(model, by=nanos)

    def failed(self, model: str, code: str) -> None:
        """A request has failed, with the code of its failure."""
        self._calls.add(model, "failure")
        if code == _LIMITED:
            self._limited.add(model)

    def readings(self) -> Iterator[Reading]:
        """Everything that was counted."""
        for tally in (self._calls, self._tokens, self._limited):
            yield from tally.readings()
        for metric, labels, nanos in self._cost.readings():
            if not isinstance(nanos, Histogram):
                yield Reading(metric, labels, nanos / _NANOS)
