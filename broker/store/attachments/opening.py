"""Open an attachment store by its address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from effectmq.broker.store.attachments.directory import DirectoryObjects
from effectmq.broker.store.attachments.memory import MemoryObjects
from effectmq.broker.store.attachments.objects import ObjectStore
from effectmq.broker.store.attachments.settings import DEFAULT_SETTINGS, AttachmentSettings
from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = ["open_attachments"]

_EXPECTED = (
    "expected file:///directory, s3://bucket/prefix?endpoint=…&region=…, memory://name, or none"
)
_PARAMETERS = ("endpoint", "region")


def open_attachments(
    url: str, settings: AttachmentSettings = DEFAULT_SETTINGS, *, namespace: str | None = None
) -> AttachmentStore | None:
    """
    The attachment store of an address, not opened yet: enter it with ``async with``.

    Args:
        url: ``file:///directory``, ``s3://bucket/prefix?endpoint=https://host:port&region=name``,
            or ``memory://name`` for one inside this process; empty or ``none`` for no store.
        settings: Thresholds, limits and times.
        namespace: The namespace; see ``AttachmentStore``.

    Raises:
        ConfigurationError: When the address has none of these forms, or the namespace is invalid.
        MissingExtraError: When its library is not installed.
    """
    if url in ("", "none"):
        return None
    try:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError(
                "the address of the attachment store holds a user or a password; remove them, and "
                "for S3 set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
            )
        return AttachmentStore(_objects(parts, settings), settings, namespace=namespace)
    except ValueError:
        raise _refused("cannot be taken apart") from None


def _objects(parts: SplitResult, settings: AttachmentSettings) -> ObjectStore:
    parameters = _parameters(parts)
    if parts.scheme == "s3":
        return _s3(parts, parameters, settings)
    if parameters:
        raise _refused(f"has parameters, which {parts.scheme or 'it'}:// does not have")
    if parts.scheme == "memory":
        return MemoryObjects(parts.netloc + parts.path)
    if parts.scheme == "file":
        return DirectoryObjects(_directory(parts))
    raise _refused(f"begins with {printable(parts.scheme, 20)!r}")


def _directory(parts: SplitResult) -> Path:
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.strip("/") or "\0" in path:
        raise _refused("names no directory; write three slashes and its full path")
    return Path(path)


def _s3(
    parts: SplitResult, parameters: dict[str, str], settings: AttachmentSettings
) -> ObjectStore:
    # Not at the top: its library is an extra, and slow to import.
    from effectmq.broker.store.attachments.s3 import S3Objects

    endpoint = parameters.get("endpoint")
    if not parts.netloc:
        raise _refused("names no bucket")
    if endpoint is not None:
        target = urlsplit(endpoint)
        if target.scheme not in ("http", "https") or not target.hostname or "@" in endpoint:
            raise _refused("has an endpoint that is not http://host:port or https://host:port")
    return S3Objects(
        parts.netloc,
        prefix=unquote(parts.path).strip("/"),
        endpoint=endpoint,
        region=parameters.get("region"),
        timeout_s=settings.timeout_s,
    )


def _parameters(parts: SplitResult) -> dict[str, str]:
    if parts.fragment:
        raise _refused("has a part after '#'")
    given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    for name in given:
        if name not in _PARAMETERS:
            raise _refused(
                f"has the parameter {printable(name, 40)!r}; there are only "
                f"{' and '.join(_PARAMETERS)}, and credentials never belong there"
            )
    return given


def _refused(problem: str) -> ConfigurationError:
    # Never show the address: the wrong part may be a secret.
    return ConfigurationError(f"the address of the attachment store {problem}; {_EXPECTED}")
