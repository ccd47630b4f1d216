"""What a call to a configured model has used, and what that costs."""

from __future__ import annotations

import asyncio
import logging

from effectmq.broker.store.spend.prices import list_price
from effectmq.broker.store.spend.records import Use
from effectmq.consumers.llm.models import ModelSettings, ProviderName
from effectmq.protocol.text import printable
from effectmq.protocol.wire.llm_response import LlmUsage

__all__ = ["Cashier"]

logger = logging.getLogger("effectmq.worker")

#: Whose list prices count. Those of a compatible server are looked for by its address.
_LISTS: dict[ProviderName, str] = {
    "openai": "openai",
    "openai-chat": "openai",
    "anthropic": "anthropic",
    "google": "google",
}


class Cashier:
    """Knows the prices of the models of a worker, and says once which it does not know."""

    def __init__(self) -> None:
        self._unknown: set[str] = set()
        self._loaded = False

    async def use(self, name: str, settings: ModelSettings, usage: LlmUsage) -> Use:
        """
        What a call has used.

        Args:
            name: The model, as requests name it.
            settings: Its row of the table.
            usage: What the provider says.
        """
        counts = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)
        nanos = await self._nanos(name, settings, *counts)
        if nanos is None and settings.provider != "scripted" and name not in self._unknown:
            self._unknown.add(name)
            logger.warning(
                "no price is known for model %s, so its calls count tokens and no money; give it "
                "one in the table of models: price = {input = ..., output = ...}",
                printable(name, 100),
                extra={"action": "price_unknown"},
            )
        return Use(name, *counts, nanos)

    async def _nanos(
        self, name: str, settings: ModelSettings, input_: int, output: int, cached: int
    ) -> int | None:
        if settings.price is not None:
            return settings.price.nanos(input_, output, cached)
        if settings.provider == "scripted":
            return None
        model = settings.model or name
        provider = _LISTS.get(settings.provider)
        address = settings.base_url if provider is None else None
        if self._loaded:
            return list_price(model, input_, output, cached, provider=provider, address=address)
        # The first call loads all prices, which takes a quarter of a second.
        found = await asyncio.to_thread(
            list_price, model, input_, output, cached, provider=provider, address=address
        )
        self._loaded = True
        return found
