"""``exec_code`` on CPython: tools, images, the end of a turn, and blocks that are run again."""

from __future__ import annotations

import pytest

from effectmq.consumers.code.handler import CodeHandler
from effectmq.consumers.code.state.sessions import Start
from effectmq.protocol.messages.request import Request
from tests.consumers.code.sandbox import SANDBOXED, sandboxed
from tests.consumers.code.stage import Recorder, ran, refused
from tests.consumers.code.test_code_handler import GIVEN, PNG, attempt, recorded, run_here
from tests.consumers.stage import code


@pytest.fixture(autouse=True)
async def _can_be_had() -> None:
    async with sandboxed():
        pass


async def test_tools_are_called_and_recorded() -> None:
    """By place and by name; what they give is plain data."""
    recorder = Recorder()
    handler = recorded(recorder, settings=SANDBOXED)
    (outcome,) = await run_here(handler, code("find('x', limit=2)['limit'] + 1"))
    response = ran(outcome)
    assert response.observations == ["3"]
    (record,) = response.tool_calls
    assert (record.tool, record.args) == ("find", {"text": "x", "limit": 2})


async def test_a_block_that_is_run_again_asks_for_the_same() -> None:
    """Byte for byte, and what it has asked for before is not carried out again."""
    recorder = Recorder()
    text = (
        "import random, time, datetime\n"
        "for word in {'some', 'words', 'in', 'a', 'set'}:\n"
        "    find(word, random.random())\n"
        "time.sleep(3)\n"
        "send(str(datetime.datetime.now()) + str(hash('x')))"
    )
    handler = recorded(recorder, settings=SANDBOXED)
    block = code(text)
    async with handler:
        await attempt(handler, code("x = 1", "0"))
        first, again = await attempt(handler, block), await attempt(handler, block)
    assert ran(first).error is None
    half = len(recorder.asked) // 2
    assert half == len(recorder.carried_out) == 7
    assert recorder.asked[:half] == recorder.asked[half:]
    assert ran(first).observations == ran(again).observations


async def test_variables_are_those_of_the_session() -> None:
    """A block that is run again begins where it began before."""
    blocks = [code("x = 1", "1"), code("x += 1\nx", "2"), code("x += 1\nx", "3")]
    outcomes = await run_here(CodeHandler(SANDBOXED), *blocks, blocks[1])
    assert [ran(one).observations for one in outcomes] == [[], ["2"], ["3"], ["2"]]


async def test_finish_ends_the_block_and_the_turn() -> None:
    """It is no error, and what was changed remains."""
    handler = CodeHandler(SANDBOXED)
    outcomes = await run_here(
        handler, code("x = 5\nfinish({'a': (1,)})\nx = 6", "1"), code("x", "2")
    )
    response = ran(outcomes[0])
    assert (response.terminal_finish, response.error) == ({"a": [1]}, None)
    assert ran(outcomes[1]).observations == ["5"]


async def test_images_are_shown_from_bytes_and_from_attachments() -> None:
    """And what is no image is refused in the code."""
    recorder = Recorder()
    recorder.outputs["find"] = {"image": GIVEN}
    handler = recorded(recorder, settings=SANDBOXED)
    text = f"show_image({PNG!r}, label='one')\nshow_image(find('x')['image'])\nshow_image(b'?')"
    (outcome,) = await run_here(handler, code(text))
    response = ran(outcome)
    assert [(image.label, bytes(image.data or b"")) for image in response.images] == [("one", PNG)]
    assert response.printed_images == [GIVEN]
    assert response.error is not None
    assert "ValueError: these bytes are not an image" in response.error


async def test_variables_of_another_engine_are_an_outcome_that_says_so() -> None:
    """Nothing is run."""
    handler = CodeHandler(SANDBOXED)
    before = Request.seal(code("x", "0"))
    session_id = before.envelope.invocation.scope.session_id
    await handler.sessions.keep(session_id, before.hash, Start(), b"other", "monty 1.4.0")
    (outcome,) = await run_here(handler, code("x", "1"))
    assert "were kept by monty 1.4.0 and cannot be read by cpython 3." in refused(outcome)
