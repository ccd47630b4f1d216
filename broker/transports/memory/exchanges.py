"""Exchanges: from a routing key to the names of queues."""

from __future__ import annotations

from collections.abc import Iterable

from effectmq.protocol.topology import Exchange

__all__ = ["MemoryExchange"]


class MemoryExchange:
    """One exchange with its bindings."""

    def __init__(self, definition: Exchange) -> None:
        self.definition = definition
        # Dictionaries as ordered sets: queues get a message in the order of their bindings.
        self._bindings: dict[str, dict[str, None]] = {}

    @property
    def bound(self) -> bool:
        """Whether there is a binding."""
        return bool(self._bindings)

    def bind(self, routing_key: str, queue: str) -> None:
        """Add a binding; adding it again changes nothing."""
        self._bindings.setdefault(routing_key, {})[queue] = None

    def unbind(self, queue: str) -> None:
        """Remove every binding of a queue that was deleted."""
        for routing_key in list(self._bindings):
            self._bindings[routing_key].pop(queue, None)
            if not self._bindings[routing_key]:
                del self._bindings[routing_key]

    def route(self, routing_key: str) -> Iterable[str]:
        """The queues that a message with this key goes to, each once."""
        if self.definition.type == "direct":
            return self._bindings.get(routing_key, ())
        if self.definition.type == "fanout":
            return _union(self._bindings.values())
        words = tuple(routing_key.split("."))
        return _union(
            queues
            for pattern, queues in self._bindings.items()
            if _matches(tuple(pattern.split(".")), words)
        )


def _union(groups: Iterable[dict[str, None]]) -> Iterable[str]:
    return dict.fromkeys(queue for group in groups for queue in group)


def _matches(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """AMQP's topic rule: ``*`` is one word, ``#`` is any number of words, also none."""
    if not pattern:
        return not words
    head, rest = pattern[0], pattern[1:]
    if head == "#":
        return any(_matches(rest, words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and head in ("*", words[0]) and _matches(rest, words[1:])
