"""Externally tagged enums and Result, from Python and from the wire."""

from __future__ import annotations

import pytest

from effectmq.protocol.encoding.serde.model import Err, Ok, from_tree, to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.wire.execution import ExecutionSurfaceSync
from effectmq.protocol.wire.llm_request import LlmContentBlockImage, LlmMessage
from effectmq.protocol.wire.messages import Part, PruneStateDeleted
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeSyncExecutionSurface,
)
from effectmq.protocol.wire.process_event_types import (
    ProcessValueSelectorConst,
    ProcessValueSelectorTemplate,
    ProcessWakeSpec,
)


def test_a_struct_variant_is_wrapped_in_its_name() -> None:
    """``{"Image":{...}}``, alone or inside of something."""
    block = LlmContentBlockImage(attachment_idx=1)
    written = {"Image": {"attachment_idx": 1}}
    assert to_tree(block) == written
    message = LlmMessage(role="User", blocks=[block])
    assert to_tree(message)["blocks"] == [written]
    assert from_tree(LlmMessage, to_tree(message)) == message


def test_unit_variants_and_struct_variants_share_a_union() -> None:
    """A name alone is a string, in Python as on the wire."""
    intact = Part(id="i", kind="Text", content="", prune_state="Intact")
    assert to_tree(intact)["prune_state"] == "Intact"
    assert from_tree(Part, {**to_tree(intact), "prune_state": {"Intact": None}}) == intact
    deleted = Part(
        id="i",
        kind="Text",
        content="",
        prune_state=PruneStateDeleted(breadcrumb="b", archive_hash="h"),
    )
    assert to_tree(deleted)["prune_state"] == {"Deleted": {"breadcrumb": "b", "archive_hash": "h"}}
    with pytest.raises(MalformedError, match="expected one of Intact, Cleared, Deleted"):
        Part(id="i", kind="Text", content="", prune_state="Gone")  # type: ignore[arg-type]


def test_selectors_nest() -> None:
    """A recursive enum is read and written at every depth, its maps sorted."""
    template = ProcessValueSelectorTemplate(
        template="{b}{a}", fields={"b": "payload", "a": ProcessValueSelectorConst(value={"z": 1})}
    )
    spec = ProcessWakeSpec(input=template)
    assert to_tree(spec) == {
        "input": {
            "template": {
                "template": "{b}{a}",
                "fields": {"a": {"const": {"z": 1}}, "b": "payload"},
            }
        },
        "dedupe_key": "event_identity",
    }
    assert from_tree(ProcessWakeSpec, to_tree(spec)) == spec


def test_results_are_told_apart_by_class() -> None:
    """Ok and Err work with ``match``, and Ok may hold nothing."""
    match RuntimeEffectOutcomeExecCode(result=Err("no")).result:
        case Err(text):
            assert text == "no"
        case Ok():
            pytest.fail("an Err was read as Ok")
    nothing = RuntimeEffectOutcomeSyncExecutionSurface(result=Ok(None))
    assert to_tree(nothing) == {"type": "sync_execution_surface", "result": {"Ok": None}}
    surface = ExecutionSurfaceSync(system_prompt="p", tool_specs=[])
    some = RuntimeEffectOutcomeSyncExecutionSurface(result=Ok(surface))
    assert from_tree(RuntimeEffectOutcomeSyncExecutionSurface, to_tree(some)) == some


def test_the_content_of_a_result_is_checked() -> None:
    """A wrong value inside Ok or Err is refused when the outcome is built."""
    with pytest.raises(MalformedError, match="found a string, expected an object"):
        RuntimeEffectOutcomeExecCode(result=Ok("text"))  # type: ignore[arg-type]
    with pytest.raises(MalformedError, match="found the integer 1, expected a string"):
        RuntimeEffectOutcomeExecCode(result=Err(1))  # type: ignore[arg-type]
