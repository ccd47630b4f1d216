"""The inbox: what waits for a session until its next checkpoint."""

from __future__ import annotations

from effectmq.broker.store.sessions.inbox import InboxOrigin, SessionInbox

__all__ = ["InboxOrigin", "SessionInbox"]
