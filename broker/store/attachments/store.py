"""
Bytes under the hash of their content: attachments, and bodies that are kept out of line.

The id of an attachment is the SHA-256 of its bytes. So equal bytes are stored once, and read bytes
are checked against their id. Each attachment also has a small description (media type, size,
label); the one that was stored last counts.

Layout, below the place of the adapter::

    attachments/ab/cd/abcd…       the bytes
    attachments/ab/cd/abcd….json  the description
    bodies/ab/cd/abcd…            bodies of messages
    attachments/of/NS/ab/cd/…     the same, of another namespace than the default one
    bodies/of/NS/ab/cd/…

A namespace stores, describes and deletes in its own place. What is not there is looked for in the
common place, where everything was before: a caller that knows the hash has the bytes already, or
was given the reference.

Bodies have their own folder because they may be deleted after some time, and attachments may not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from typing import Self, TypeVar

from effectmq.broker.store.attachments.objects import Found, ObjectStore, Persistence, digest
from effectmq.broker.store.attachments.settings import DEFAULT_SETTINGS, AttachmentSettings
from effectmq.broker.store.database.belonging import Belonging
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.errors import (
    AttachmentCorruptError,
    AttachmentMissingError,
    AttachmentStoreError,
    MalformedError,
    PayloadTooLargeError,
)
from effectmq.protocol.messages.body_reference import BodyReference
from effectmq.protocol.text import printable
from effectmq.protocol.topology import DEFAULT_NAMESPACE
from effectmq.protocol.wire.attachments import AttachmentMeta, AttachmentRef, MediaType
from effectmq.protocol.wire.media_types import media_type_of

__all__ = ["AttachmentStore"]

_ID = re.compile(r"[0-9a-f]{64}")
#: The beginning of the places of namespaces; no id begins so.
_OF = "of"
_MAX_META_BYTES = 64 * 1024
_MAX_LABEL_BYTES = 16 * 1024
_Result = TypeVar("_Result")


#: No attachment and no body has this name.
_NO_NAME = "check"


class AttachmentStore:
    """
    A content-addressed store. Use it as an asynchronous context manager.

    Entering it checks whether the place can be used. A store that was not entered works as well,
    and reports a problem at its first use.

    Args:
        objects: Stores the bytes.
        settings: Thresholds, limits and times.
        namespace: The namespace; by default that of the worker or client that opened the store by
            its address, else ``effects``.
    """

    def __init__(
        self,
        objects: ObjectStore,
        settings: AttachmentSettings = DEFAULT_SETTINGS,
        *,
        namespace: str | None = None,
    ) -> None:
        self.settings = settings
        self._belonging = Belonging(namespace)
        self._objects = objects

    @property
    def where(self) -> str:
        """The place, in a form that may be shown to people."""
        return self._objects.where

    @property
    def persistence(self) -> Persistence:
        """``durable`` when stored bytes outlive every process, else ``ephemeral``."""
        return self._objects.persistence

    def adopt(self, namespace: str) -> None:
        """Belong to this namespace, unless one was named; see the port of databases."""
        self._belonging.adopt(namespace, self.where)

    async def __aenter__(self) -> Self:
        """
        Check whether the place can be used.

        Raises:
            AttachmentStoreError: When it cannot.
        """
        await self._within(self._objects.open())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close threads and connections."""
        await self._objects.close()

    async def check(self) -> None:
        """
        Find out whether the place answers, by reading a name that is not there.

        Raises:
            AttachmentStoreError: When it does not.
        """
        await self._within(self._objects.get(_NO_NAME, 1))

    # Attachments -------------------------------------------------------------------------------

    async def put(
        self,
        data: bytes,
        media_type: MediaType | str,
        *,
        width: int | None = None,
        height: int | None = None,
        label: str | None = None,
    ) -> AttachmentRef:
        """
        Store an attachment; storing equal bytes again is safe and gives the same id.

        Args:
            data: The bytes.
            media_type: In the form of the wire, or as MIME, for instance ``image/png``.
            width: The width in pixels.
            height: The height in pixels.
            label: A name for people.

        Returns:
            The reference for the wire, in place of the bytes.

        Raises:
            AttachmentReferenceError: When the wire has no such media type.
            PayloadTooLargeError: When it is over the size limit.
            AttachmentStoreError: When it could not be stored.
        """
        if isinstance(media_type, str):
            media_type = media_type_of(media_type)
        _check_size("the attachment", len(data), self.settings.max_attachment_bytes)
        _check_size("the label", len((label or "").encode(errors="replace")), _MAX_LABEL_BYTES)
        id_ = await digest(data)
        reference = AttachmentRef(
            id=id_,
            media_type=media_type,
            byte_len=len(data),
            width=width,
            height=height,
            label=label,
        )
        name = self._name("attachments", id_)
        # The bytes first: a description without bytes would be wrong.
        await self._within(self._objects.put(name, data))
        description = canonical_json(to_tree(reference))
        await self._within(self._objects.put(f"{name}.json", description))
        return reference

    async def get(self, attachment_id: str) -> bytes:
        """
        The bytes of an attachment, checked against its id.

        Raises:
            AttachmentMissingError: When there is nothing under this id.
            AttachmentCorruptError: When other bytes are stored under it.
            AttachmentStoreError: When the store could not be read.
        """
        name = self._name("attachments", attachment_id)
        limit = self.settings.max_attachment_bytes
        return await self._verified("the attachment", name, attachment_id, limit)

    async def describe(self, attachment_id: str) -> AttachmentMeta:
        """
        The description that was stored last with an attachment.

        Raises:
            AttachmentMissingError: When there is nothing under this id.
            AttachmentCorruptError: When its description cannot be read.
            AttachmentStoreError: When the store could not be read.
        """
        name = f"{self._name('attachments', attachment_id)}.json"
        found = await self._read(name, _MAX_META_BYTES)
        if found is None:
            raise self._missing("the attachment", attachment_id)
        try:
            meta = from_tree(AttachmentMeta, parse_json(found.data))
        except MalformedError as problem:
            raise self._corrupt("the description of", attachment_id, str(problem)) from None
        if meta.id != attachment_id:
            other = f"it is that of {printable(meta.id, 80)!r}"
            raise self._corrupt("the description of", attachment_id, other)
        return meta

    async def delete(self, attachment_id: str) -> None:
        """
        Delete an attachment; only the caller knows whether it is still needed.

        Raises:
            AttachmentMissingError: When the id is invalid; an unknown id is no error.
            AttachmentStoreError: When it could not be deleted.
        """
        name = self._name("attachments", attachment_id)
        await self._within(self._objects.delete(f"{name}.json"))
        await self._within(self._objects.delete(name))

    # Bodies ------------------------------------------------------------------------------------

    async def put_body(self, body: bytes, sha256: str = "") -> BodyReference:
        """
        Store the body of a message; storing it again makes it young again.

        Args:
            body: The body.
            sha256: Its SHA-256, lowercase hex, by whoever has computed it just now.

        Raises:
            PayloadTooLargeError: When it is over the size limit.
            AttachmentStoreError: When it could not be stored.
        """
        _check_size("the body", len(body), self.settings.max_body_bytes)
        reference = BodyReference(sha256 or await digest(body), len(body))
        await self._within(self._objects.put(self._name("bodies", reference.sha256), body))
        return reference

    async def get_body(self, reference: BodyReference) -> bytes:
        """
        The body of a message, checked against its reference before it is decoded.

        Raises:
            MalformedError: When its size is over the limit, or differs from the reference.
            AttachmentMissingError: When it is not in the store.
            AttachmentCorruptError: When other bytes are stored.
            AttachmentStoreError: When the store could not be read.
        """
        limit = self.settings.max_body_bytes
        if reference.size_bytes > limit:
            raise MalformedError(
                "",
                f"the body is {reference.size_bytes} bytes, kept out of line, and the limit is "
                f"{limit}; raise max_body_bytes of the attachment settings, or send less",
            )
        id_ = reference.sha256
        body = await self._verified("the body", self._name("bodies", id_), id_, limit)
        if len(body) != reference.size_bytes:
            raise MalformedError(
                "",
                f"the reference says that the body is {reference.size_bytes} bytes, but it has "
                f"{len(body)}",
            )
        return body

    # Checks ------------------------------------------------------------------------------------

    async def _verified(self, what: str, name: str, id_: str, limit: int) -> bytes:
        found = await self._read(name, limit)
        if found is None:
            raise self._missing(what, id_)
        size = len(found.data)
        if size > limit:
            raise self._corrupt(what, id_, f"there are more than the {limit} bytes allowed")
        if found.sha256 != id_:
            raise self._corrupt(what, id_, f"its {size} bytes hash to {found.sha256}")
        return found.data

    def _name(self, folder: str, id_: str) -> str:
        common = _common_name(folder, id_)
        namespace = self._belonging.namespace
        if namespace == DEFAULT_NAMESPACE:
            return common
        return f"{folder}/{_OF}/{namespace}/{common.removeprefix(f'{folder}/')}"

    async def _read(self, name: str, limit: int) -> Found | None:
        """The object of a name, or that of the same name in the common place."""
        found = await self._within(self._objects.get(name, limit))
        folder, of, *rest = name.split("/", 3)
        if found is None and of == _OF:
            found = await self._within(self._objects.get(f"{folder}/{rest[1]}", limit))
        return found

    def _missing(self, what: str, id_: str) -> AttachmentMissingError:
        return AttachmentMissingError(
            id_,
            f"{what} {id_} is not in the store {self.where}: it was deleted, or the sender of the "
            "reference uses another store",
        )

    def _corrupt(self, what: str, id_: str, problem: str) -> AttachmentCorruptError:
        return AttachmentCorruptError(
            id_,
            f"{what} {id_} in the store {self.where} was damaged or replaced: {problem}. Store "
            "the original again",
        )

    async def _within(self, work: Coroutine[object, object, _Result]) -> _Result:
        """Wait for the adapter, for a limited time."""
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await work
        except TimeoutError:
            raise AttachmentStoreError(
                f"the attachment store {self.where} did not answer within "
                f"{self.settings.timeout_s:g} s; check that it is up and reachable"
            ) from None


def _common_name(folder: str, id_: str) -> str:
    """
    The name in the common place. Only a valid id becomes part of a path, so that none escapes.
    """
    if not _ID.fullmatch(id_):
        raise AttachmentMissingError(
            id_,
            f"{printable(id_, 100)!r} is not an attachment id; expected 64 lowercase hex digits, "
            "the SHA-256 of the bytes",
        )
    return f"{folder}/{id_[:2]}/{id_[2:4]}/{id_}"


def _check_size(what: str, size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise PayloadTooLargeError(what, size_bytes, limit_bytes)
