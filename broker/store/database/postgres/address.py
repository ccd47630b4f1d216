"""
The address of a PostgreSQL database, split into connection and settings.

Settings in an address (``?options=-csearch_path%3Deffects``) are meant for a session. A pooler that
gives every transaction another session of the server either refuses them or leaves them to other
users. So they are removed here, and set in every transaction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

__all__ = ["Address", "beginning", "read_address"]

#: One word of the options as libpq reads them: a backslash keeps the next character.
_WORD = re.compile(r"(?:\\.|[^\s\\])+")
_SETTING = re.compile(r"(?:-c\s*|--)(?P<name>[\w.-]+)=(?P<value>.*)", re.DOTALL)


_NUMBERS = {
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True)
class Address:
    """
    The address of a PostgreSQL database, split into connection and settings.

    Attributes:
        conninfo: For libpq; without the settings.
        settings: The settings by name, in the order of the address.
    """

    conninfo: str
    settings: Mapping[str, str]


def read_address(url: str) -> Address:
    """
    Split an address.

    Raises:
        psycopg.ProgrammingError: When libpq cannot read it.
        ValueError: When libpq can read it, but could never connect with it.
    """
    fields = conninfo_to_dict(url)
    _check_values(fields)
    options = str(fields.pop("options", "") or "")
    settings, rest = _settings(options)
    if rest:
        fields["options"] = rest
    return Address(make_conninfo("", **fields), settings)


def _check_values(fields: Mapping[str, Any]) -> None:
    # libpq reads these only when it connects, and then reports them as if the server were away.
    for name in _NUMBERS & fields.keys():
        if not re.fullmatch("-?[0-9]{1,9}", str(fields[name])):
            raise ValueError(f"{name} is not a whole number")
    mode = str(fields.get("sslmode", "prefer"))
    if mode not in _SSL_MODES:
        raise ValueError(f"sslmode is not one of {', '.join(_SSL_MODES)}")


def beginning(settings: Mapping[str, str]) -> str:
    """The parts of a SELECT that apply settings until the transaction ends."""
    return "".join(
        f", set_config({_quoted(name)}, {_quoted(value)}, true)" for name, value in settings.items()
    )


def _settings(options: str) -> tuple[dict[str, str], str]:
    """The settings among the options, and the other options."""
    words = _WORD.findall(options)
    found: dict[str, str] = {}
    rest: list[str] = []
    while words:
        word = words.pop(0)
        if word == "-c" and words:
            word += words.pop(0)
        setting = _SETTING.fullmatch(re.sub(r"\\(.)", r"\1", word))
        if setting is None:
            rest.append(word)
        elif word.startswith("--"):
            found[setting["name"].replace("-", "_")] = setting["value"]
        else:
            found[setting["name"]] = setting["value"]
    return found, " ".join(rest)


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''").replace("\\", "\\\\")
    return f"E'{doubled}'"
