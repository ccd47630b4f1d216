"""How values of options are read: what is out of every range is a sentence, as a typo is."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from effectmq.cli.arguments.options import positive
from effectmq.cli.dead.choice import rate
from effectmq.cli.terminal.times import moment, seconds

_ENDLESS = "9" * 400


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (moment, f"{_ENDLESS}d"),
        (moment, "30000d"),
        (seconds, f"{_ENDLESS}d"),
        (seconds, "9" * 30),
        (seconds, "0"),
        (seconds, "0.0ms"),
        (positive, "9" * 5_000),
        (positive, "9" * 19),
        (positive, "0"),
        (positive, "²"),
        (rate, _ENDLESS),
        (rate, "0/s"),
    ],
    ids=lambda value: value[:8] if isinstance(value, str) else value.__name__,
)
def test_what_is_out_of_range_is_refused(read: Callable[[str], object], text: str) -> None:
    """Nothing of the conversion itself is shown."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"^found '"):
        read(text)


def test_what_is_large_and_still_meant_is_read() -> None:
    """The oldest moment, the longest time and the largest number that anybody needs."""
    assert moment("1w") > 0
    assert seconds("36500d") == 36_500 * 86_400
    assert positive("9" * 18) == int("9" * 18)
