"""The attachment store: bytes under the hash of their content, in a directory or in S3."""

from __future__ import annotations

from effectmq.broker.store.attachments.opening import open_attachments
from effectmq.broker.store.attachments.settings import AttachmentSettings
from effectmq.broker.store.attachments.store import AttachmentStore

__all__ = ["AttachmentSettings", "AttachmentStore", "open_attachments"]
