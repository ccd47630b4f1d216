"""What a slip in the command line is answered with."""

from __future__ import annotations

import secrets

import pytest

from effectmq.broker.transports import open_transport
from effectmq.cli.arguments.suggestions import did_you_mean
from effectmq.cli.submit.tool_names import tools_of_workers
from effectmq.consumers.worker import EffectWorker
from tests.front_door.cli.command import effectmq


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("submt", "did you mean 'submit'?"),
        ("dead lst", "did you mean 'list'?"),
        ("dead list --knd sleep", "did you mean '--kind'?"),
        ("dead list --kind tool_cal", "did you mean 'tool_call'?"),
        ("queues --kind tol_call.gpu", "did you mean 'tool_call'?"),
        ("submit --tol add", "did you mean '--tool'?"),
        ("effects list --status complet", "did you mean 'completed'?"),
        ("journal prune --older 30d --dryrun", "did you mean '--dry-run'?"),
    ],
)
def test_a_slip_is_answered_with_what_is_near(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command, an action, an option, a kind or a choice; exit code 2."""
    result = effectmq(capsys, *words.split())
    assert result.code == 2
    assert result.err.endswith(f"{said}\n")


@pytest.mark.parametrize("words", ["dead list --zzzz", "zzzz", "dead list extra"])
def test_what_is_like_nothing_gets_no_guess(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A guess that is far off only confuses."""
    result = effectmq(capsys, *words.split())
    assert result.code == 2
    assert "did you mean" not in result.err
    assert words.split()[-1] in result.err


def test_what_is_known_is_not_suggested_to_itself() -> None:
    """A word that is right can still be in the wrong place."""
    assert did_you_mean("--kind", ["--kind"]) == ""
    assert did_you_mean("ad", ["add", "mul"]) == "; did you mean 'add'?"


async def test_workers_tell_which_tools_they_have() -> None:
    """Whoever asks is told; without a worker nothing is waited for."""
    url = f"memory://{secrets.token_hex(4)}"
    app = EffectWorker(url)

    @app.tool
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    async with open_transport(url) as transport:
        assert await tools_of_workers(transport, "effects", "ad", 10.0) == set()
        async with app:
            assert await tools_of_workers(transport, "effects", "add", 10.0) == {"add"}
            assert await tools_of_workers(transport, "effects", "ad", 0.05) == {"add"}
