"""Open an attachment store by its address."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

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
#: Settings in an address, so that whatever names the store sets them: argument, option, variable.
_SETTINGS = tuple(each.name for each in fields(AttachmentSettings))
_MOST_DIGITS = 18


def open_attachments(
    url: str, settings: AttachmentSettings = DEFAULT_SETTINGS, *, namespace: str | None = None
) -> AttachmentStore | None:
    """
    The attachment store of an address, not opened yet: enter it with ``async with``.

    Args:
        url: ``file:///directory``, ``s3://bucket/prefix?endpoint=https://host:port&region=name``,
            or ``memory://name`` for one inside this process; empty or ``none`` for no store. Each
            may have parameters named as the settings: ``?timeout_s=60&fetches=8``.
        settings: Thresholds, limits and times; a parameter of the address wins.
        namespace: The namespace; see ``AttachmentStore``.

    Raises:
        ConfigurationError: When the address has none of these forms, a setting cannot be used, or
            the namespace is invalid.
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
        parameters = _parameters(parts)
        given: dict[str, Any] = {}
        for name in parameters.keys() & set(_SETTINGS):
            given[name] = _number(name, parameters.pop(name))
        settings = replace(settings, **given)
        return AttachmentStore(_objects(parts, parameters, settings), settings, namespace=namespace)
    except ValueError:
        raise _refused("cannot be taken apart") from None


def _objects(
    parts: SplitResult, parameters: dict[str, str], settings: AttachmentSettings
) -> ObjectStore:
    if parts.scheme == "s3":
        return _s3(parts, parameters, settings)
    if parameters:
        raise _refused(
            f"has the parameter {next(iter(parameters))}, which {parts.scheme or 'it'}:// does not "
            "have"
        )
    # Not at the top: most programs have no store, and nobody has all kinds of it.
    if parts.scheme == "memory":
        from effectmq.broker.store.attachments.memory import MemoryObjects

        return MemoryObjects(parts.netloc + parts.path)
    if parts.scheme == "file":
        from effectmq.broker.store.attachments.directory import DirectoryObjects

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
    given: dict[str, str] = {}
    for name, value in parse_qsl(
        parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)
    ):
        if name not in (*_PARAMETERS, *_SETTINGS):
            raise _refused(
                f"has the parameter {printable(name, 40)!r}; there are only "
                f"{', '.join((*_PARAMETERS, *_SETTINGS))}, and credentials never belong there"
            )
        if name in given:
            raise _refused(f"has the parameter {name} twice")
        given[name] = value
    return given


def _number(name: str, value: str) -> float:
    whole, _, part = value.partition(".")
    if value.isascii() and (whole + part).isdigit() and len(value) <= _MOST_DIGITS:
        return float(value) if part else int(whole)
    raise _refused(f"has a {name} that is no number")


def _refused(problem: str) -> ConfigurationError:
    # Never show the address: the wrong part may be a secret.
    return ConfigurationError(f"the address of the attachment store {problem}; {_EXPECTED}")
