"""The face of the protocol package and the order inside its modules."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

import pytest
from pydantic import BaseModel

import effectmq.protocol as protocol
from tests.protocol.documents import wire_types

_MODULES = [found.name for found in walk_packages(protocol.__path__, "effectmq.protocol.")]


def test_every_name_of_the_package_is_there() -> None:
    """Names are loaded when they are asked for, and each can be."""
    assert all(getattr(protocol, name) is not None for name in protocol.__all__)
    assert set(protocol.__all__) <= set(dir(protocol))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        protocol.nothing  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_every_module_says_what_it_is_and_what_it_offers() -> None:
    """A docstring, and an ``__all__`` whose names exist."""
    for name in _MODULES:
        module = import_module(name)
        assert module.__doc__, name
        for public in getattr(module, "__all__", []):
            assert hasattr(module, public), f"{name}.{public}"


def test_every_wire_class_says_what_it_is() -> None:
    """And its first field is its tag, when it has one: tags are written first."""
    classes = [
        type_
        for type_ in wire_types().values()
        if isinstance(type_, type) and issubclass(type_, BaseModel)
    ]
    assert len(classes) > 200
    for class_ in classes:
        assert class_.__doc__, class_
        tags = [
            name
            for name, field in class_.model_fields.items()
            if str(field.annotation).startswith("typing.Literal")
            and field.default
            and not field.metadata
        ]
        assert tags in ([], [next(iter(class_.model_fields), "")]), class_
