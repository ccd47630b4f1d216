"""What holds for every envelope and outcome, not only for those that somebody wrote down."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree, to_tree
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from effectmq.protocol.wire.process_registration import ProcessInputSessionTurn
from effectmq.protocol.wire.scopes import EffectScope
from tests.protocol.strategies import wire_values

_TYPES = [RuntimeEffectEnvelope, RuntimeEffectOutcome, ProcessInputSessionTurn, EffectScope]
_slow = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("type_", _TYPES, ids=["envelope", "outcome", "session_turn", "scope"])
@given(data=st.data())
@_slow
def test_building_in_python_and_decoding_give_the_same(type_: Any, data: st.DataObject) -> None:
    """Encode, decode, encode: same value, same bytes, through the tree and through the text."""
    built = data.draw(wire_values(type_))
    encoded = canonical_bytes(built)
    decoded = from_tree(type_, to_tree(built))
    assert canonical_bytes(decoded) == encoded
    reread = from_tree(type_, parse_json(encoded))
    assert canonical_bytes(reread) == encoded
    assert canonical_json(to_tree(reread)) == encoded
    assert decoded == reread


def _disturbed(tree: Any) -> Any:
    """The same document as another producer might send it: reversed, with more members."""
    return {**dict(reversed(tree.items())), "zz unknown": {"a": [1]}}


@pytest.mark.parametrize("type_", [RuntimeEffectEnvelope, RuntimeEffectOutcome])
@given(data=st.data())
@_slow
def test_order_and_unknown_members_do_not_change_the_bytes(type_: Any, data: st.DataObject) -> None:
    """The canonical form is that of what was understood."""
    built = data.draw(wire_values(type_))
    tree = _disturbed(to_tree(built))
    if "invocation" in tree:
        tree["invocation"] = _disturbed(tree["invocation"])
        tree["command"] = _disturbed(tree["command"])
    assert canonical_bytes(from_tree(type_, tree)) == canonical_bytes(built)
