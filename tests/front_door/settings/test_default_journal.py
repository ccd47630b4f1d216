"""Where a user's journal is by default."""

from __future__ import annotations

import pytest

from effectmq.settings.default_journal import default_journal


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"XDG_STATE_HOME": "/var/state", "HOME": "/home/me"}, "/var/state/effectmq/effects.db"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/effectmq/effects.db"),
        # The specification says to ignore a relative one.
        (
            {"XDG_STATE_HOME": "state", "HOME": "/home/me"},
            "/home/me/.local/state/effectmq/effects.db",
        ),
        ({"XDG_STATE_HOME": "", "HOME": ""}, "~/.local/state/effectmq/effects.db"),
    ],
)
def test_the_journal_is_among_the_users_state(variables: dict[str, str], place: str) -> None:
    assert default_journal(variables, "effects") == f"sqlite:///{place}"


def test_each_namespace_has_a_journal_of_its_own() -> None:
    variables = {"HOME": "/home/me"}
    assert default_journal(variables, "a") != default_journal(variables, "b")
