"""
Objects in a bucket of S3 or of a server that speaks its protocol, through ``obstore``.

Credentials come from the sources of the library: ``AWS_ACCESS_KEY_ID`` and the like, a web
identity, the container, the instance. They are never part of the address. Only the error code of a
server's answer is shown, because error documents repeat key ids and addresses.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from effectmq.broker.store.attachments.objects import Found, Persistence, digest
from effectmq.protocol.errors import AttachmentStoreError, ConfigurationError, MissingExtraError
from effectmq.protocol.text import printable

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

__all__ = ["S3Objects"]

_Result = TypeVar("_Result")

_RETRIES = 3
#: An object that never exists; asking for it shows whether the bucket can be used.
_PROBE = "effectmq.probe"

_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3}[A-Za-z ]{0,40})")
_ADVICE = {
    "NoSuchBucket": "the bucket does not exist; create it",
    "AccessDenied": "access is denied; allow s3:GetObject, s3:PutObject and s3:DeleteObject",
    "InvalidAccessKeyId": "the server does not know the access key; check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the session token has expired; get a new one",
    "PermanentRedirect": "the bucket is in another region; name it with ?region=",
    "AuthorizationHeaderMalformed": "the region is wrong; name the bucket's with ?region=",
}


class S3Objects:
    """
    An object store in a bucket of S3.

    Args:
        bucket: The bucket, which must exist.
        prefix: The beginning of all names; empty for the whole bucket.
        endpoint: The server, ``http://…`` or ``https://…``; AWS when not given.
        region: The bucket's region; from the environment when not given.
        timeout_s: Seconds for one operation, all tries together.

    Raises:
        MissingExtraError: When the library is not installed.
        ConfigurationError: When it does not accept an argument.
    """

    persistence: Persistence = "durable"

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str | None = None,
        region: str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.where = f"s3://{bucket}/{prefix}"
        self._bucket = bucket
        self._store = self._open_store(bucket, prefix, endpoint, region, timeout_s)

    def _open_store(
        self, bucket: str, prefix: str, endpoint: str | None, region: str | None, timeout_s: float
    ) -> S3Store:
        try:
            from obstore.exceptions import BaseError
            from obstore.store import S3Store
        except ImportError:
            raise MissingExtraError("an attachment store in S3", "s3") from None
        limit = timedelta(seconds=timeout_s)
        # A setting that was not given must be absent, so that the environment can provide it.
        config: S3Config = {}
        if endpoint is not None:
            config["endpoint"] = endpoint
        if region is not None:
            config["region"] = region
        try:
            return S3Store(
                bucket,
                prefix=prefix or None,
                config=config,
                client_options={"allow_http": (endpoint or "").startswith("http://")},
                retry_config={"max_retries": _RETRIES, "retry_timeout": limit},
            )
        except (BaseError, ValueError, TypeError):
            raise ConfigurationError(
                f"the S3 client does not accept the address {self.where} or a variable AWS_…; "
                "expected s3://bucket/prefix?endpoint=https://host:port&region=name"
            ) from None

    async def open(self) -> None:
        """Ask for an object that does not exist: this finds a wrong bucket, key or address."""
        await self.get(_PROBE, 0)

    async def close(self) -> None:
        """Do nothing: idle connections end by themselves."""

    async def put(self, name: str, data: bytes) -> None:
        """Put an object in one request, so that there are never parts of one."""
        await self._do("written to", self._store.put_async(name, data, use_multipart=False))

    async def get(self, name: str, max_bytes: int) -> Found | None:
        """Get an object; of one that is too large, only its beginning."""
        result = await self._do("read", self._store.get_async(name))
        if result is None:
            return None
        if result.meta["size"] > max_bytes:
            part = self._store.get_range_async(name, start=0, end=max_bytes + 1)
            found = await self._do("read", part)
        else:
            found = await self._do("read", result.bytes_async())
        if found is None:
            return None
        data = bytes(found)
        return Found(data, await digest(data))

    async def delete(self, name: str) -> None:
        """Delete an object."""
        await self._do("deleted from", self._store.delete_async(name))

    async def _do(self, done: str, work: Awaitable[_Result]) -> _Result | None:
        """Wait for the library; ``None`` when the object does not exist."""
        from obstore.exceptions import BaseError

        try:
            return await work
        except (BaseError, OSError, ValueError) as problem:
            text = str(problem)
            code = _CODE.search(text)
            if isinstance(problem, FileNotFoundError) and (code is None or code[1] == "NoSuchKey"):
                return None
            raise AttachmentStoreError(
                f"the attachment store {self.where} could not be {done}: {_why(text)}",
                # Refused by the server, or there were no credentials.
                lasting=(code is not None and code[1] in _ADVICE) or "no credentials" in _why(text),
            ) from None


def _why(text: str) -> str:
    """The advice for an error of the library, which repeats only the safe part of its text."""
    code, status = _CODE.search(text), _STATUS.search(text)
    if code is not None:
        return _ADVICE.get(code[1], f"the server answered {code[1]}")
    if status is not None:
        return f"the server answered {printable(status[1].strip())}"
    if "credential" in text.lower() or "169.254." in text:
        return "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return "the server could not be reached, or gave no proper answer; check endpoint and network"
