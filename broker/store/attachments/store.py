"""
Bytes under the hash of their content: attachments, and bodies that are kept out of line.

The id of an attachment is the SHA-256 of its bytes, so equal bytes are stored once, and whatever
comes back is checked against the id that it was asked for by. Beside the bytes lies a small
description (media type, size, label); the latest one put is the one that is told.

Layout, below the place of the adapter::

    attachments/ab/cd/abcd…       the bytes
    attachments/ab/cd/abcd….json  the description
    bodies/ab/cd/abcd…            bodies of messages
    attachments/of/NS/ab/cd/…     the same, of another namespace than the default one
    bodies/of/NS/ab/cd/…

A namespace puts, describes and deletes in a place of its own. What it does not have there it looks
for in the common one, where everything was before: whoever knows the hash of bytes has the bytes,
or was given the reference.

Bodies have a folder of their own because they may go after some time, and attachments may not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from typing import Self, TypeVar

from effectmq.broker.store.attachments.objects import ObjectStore, Persistence
from effectmq.broker.store.attachments.settings import DEFAULT_SETTINGS, AttachmentSettings
from effectmq.broker.store.database.belonging import Belonging
from effectmq.protocol.encoding.canonical import canonical_json, sha256_hex
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
#: Begins the places of namespaces; no beginning of an id.
_OF = "of"
_MAX_META_BYTES = 64 * 1024
_MAX_LABEL_BYTES = 16 * 1024
#: Hashing less than this is faster than asking a thread to do it.
_HASHED_HERE_BYTES = 256 * 1024

_Result = TypeVar("_Result")


#: No attachment and no body has this name.
_NO_NAME = "check"


class AttachmentStore:
    """
    A content-addressed store. Use as an asynchronous context manager.

    Entering finds out whether the place can be used; a store that was not entered works all the
    same, and says so at its first use.

    Args:
        objects: Where the bytes are.
        settings: Thresholds, limits and times.
        namespace: Whose; that of the worker or client that opened it by its address, else the
            default one.
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
        """The place, as it may be shown to people."""
        return self._objects.where

    @property
    def persistence(self) -> Persistence:
        """``durable`` when what is put outlives every process, else ``ephemeral``."""
        return self._objects.persistence

    def adopt(self, namespace: str) -> None:
        """Belong to this namespace, unless one was named; see the port of databases."""
        self._belonging.adopt(namespace, self.where)

    async def __aenter__(self) -> Self:
        """
        Find out whether the place can be used.

        Raises:
            AttachmentStoreError: When it cannot.
        """
        await self._within(self._objects.open())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Let go of threads and connections."""
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
            data: Its bytes.
            media_type: As the wire has it, or as MIME, for instance ``image/png``.
            width: In pixels.
            height: In pixels.
            label: A name for people.

        Returns:
            What goes on the wire in place of the bytes.

        Raises:
            AttachmentReferenceError: When the wire has no such media type.
            PayloadTooLargeError: When it is over the size cap.
            AttachmentStoreError: When it could not be stored.
        """
        if isinstance(media_type, str):
            media_type = media_type_of(media_type)
        _check_size("the attachment", len(data), self.settings.max_attachment_bytes)
        _check_size("the label", len((label or "").encode(errors="replace")), _MAX_LABEL_BYTES)
        id_ = await _digest(data)
        reference = AttachmentRef(
            id=id_,
            media_type=media_type,
            byte_len=len(data),
            width=width,
            height=height,
            label=label,
        )
        name = self._name("attachments", id_)
        # The bytes first: a description without bytes would promise what is not there.
        await self._within(self._objects.put(name, data))
        description = canonical_json(to_tree(reference))
        await self._within(self._objects.put(f"{name}.json", description))
        return reference

    async def get(self, attachment_id: str) -> bytes:
        """
        The bytes of an attachment, checked against its id.

        Raises:
            AttachmentMissingError: When there is nothing under this id.
            AttachmentCorruptError: When there is something else under it.
            AttachmentStoreError: When the store could not be read.
        """
        name = self._name("attachments", attachment_id)
        limit = self.settings.max_attachment_bytes
        return await self._verified("the attachment", name, attachment_id, limit)

    async def describe(self, attachment_id: str) -> AttachmentMeta:
        """
        What was said of an attachment when it was stored last.

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
            meta = from_tree(AttachmentMeta, parse_json(found))
        except MalformedError as problem:
            raise self._corrupt("the description of", attachment_id, str(problem)) from None
        if meta.id != attachment_id:
            other = f"it is that of {printable(meta.id, 80)!r}"
            raise self._corrupt("the description of", attachment_id, other)
        return meta

    async def delete(self, attachment_id: str) -> None:
        """
        Delete an attachment; nobody but you knows whether it is still wanted.

        Raises:
            AttachmentMissingError: When this is no id; an unknown one is deleted already.
            AttachmentStoreError: When it could not be deleted.
        """
        name = self._name("attachments", attachment_id)
        await self._within(self._objects.delete(f"{name}.json"))
        await self._within(self._objects.delete(name))

    # Bodies ------------------------------------------------------------------------------------

    async def put_body(self, body: bytes) -> BodyReference:
        """
        Keep the body of a message; keeping it again makes it young again.

        Raises:
            PayloadTooLargeError: When it is over the size cap.
            AttachmentStoreError: When it could not be stored.
        """
        _check_size("the body", len(body), self.settings.max_body_bytes)
        reference = BodyReference(await _digest(body), len(body))
        await self._within(self._objects.put(self._name("bodies", reference.sha256), body))
        return reference

    async def get_body(self, reference: BodyReference) -> bytes:
        """
        The body of a message, checked against its reference before anybody decodes it.

        Raises:
            MalformedError: When it says that it is over the size cap, or lies about its size.
            AttachmentMissingError: When it is not there.
            AttachmentCorruptError: When something else is in its place.
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
                f"the reference says that the body is {reference.size_bytes} bytes, and it is "
                f"{len(body)}",
            )
        return body

    # Checks ------------------------------------------------------------------------------------

    async def _verified(self, what: str, name: str, id_: str, limit: int) -> bytes:
        data = await self._read(name, limit)
        if data is None:
            raise self._missing(what, id_)
        if len(data) > limit:
            raise self._corrupt(what, id_, f"there are more than the {limit} bytes allowed")
        actual = await _digest(data)
        if actual != id_:
            raise self._corrupt(what, id_, f"its {len(data)} bytes hash to {actual}")
        return data

    def _name(self, folder: str, id_: str) -> str:
        common = _common_name(folder, id_)
        namespace = self._belonging.namespace
        if namespace == DEFAULT_NAMESPACE:
            return common
        return f"{folder}/{_OF}/{namespace}/{common.removeprefix(f'{folder}/')}"

    async def _read(self, name: str, limit: int) -> bytes | None:
        """What is under a name, or else under the same one in the common place."""
        found = await self._within(self._objects.get(name, limit))
        folder, of, *rest = name.split("/", 3)
        if found is None and of == _OF:
            found = await self._within(self._objects.get(f"{folder}/{rest[1]}", limit))
        return found

    def _missing(self, what: str, id_: str) -> AttachmentMissingError:
        return AttachmentMissingError(
            id_,
            f"{what} {id_} is not in the store {self.where}: it was deleted, or whoever sent the "
            "reference uses another store",
        )

    def _corrupt(self, what: str, id_: str, problem: str) -> AttachmentCorruptError:
        return AttachmentCorruptError(
            id_,
            f"{what} {id_} in the store {self.where} was damaged or replaced: {problem}. Store "
            "the original again",
        )

    async def _within(self, work: Coroutine[object, object, _Result]) -> _Result:
        """Wait for the adapter, but not for ever."""
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await work
        except TimeoutError:
            raise AttachmentStoreError(
                f"the attachment store {self.where} did not answer within "
                f"{self.settings.timeout_s:g} s; check that it is up and reachable"
            ) from None


def _common_name(folder: str, id_: str) -> str:
    """In the common place. Only an id becomes part of a path, so that none leads anywhere else."""
    if not _ID.fullmatch(id_):
        raise AttachmentMissingError(
            id_,
            f"{printable(id_, 100)!r} is no attachment id; expected 64 lowercase hex digits, the "
            "SHA-256 of the bytes",
        )
    return f"{folder}/{id_[:2]}/{id_[2:4]}/{id_}"


def _check_size(what: str, size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise PayloadTooLargeError(what, size_bytes, limit_bytes)


async def _digest(data: bytes) -> str:
    if len(data) <= _HASHED_HERE_BYTES:
        return sha256_hex(data)
    return await asyncio.to_thread(sha256_hex, data)
