"""The audit of the journal is not blind."""

from __future__ import annotations

from dataclasses import replace

from tests.scenarios.audit import JournalRow, examine
from tests.scenarios.ledger import Entry

_ROW = JournalRow("good", "completed", 1, 1, "", 0, 0, '{"n":1}', "", 2_000)
_RUN = Entry("good", 1, 7, "begin", 1_000)


def _found(row: JournalRow, *, digest: str = _ROW.digest, run: Entry = _RUN) -> list[str]:
    return examine([row], {"good": [(digest, False)]}, [run])


def test_a_sound_journal_has_nothing_against_it() -> None:
    """One finished row, told as it is, and one body before it."""
    assert _found(_ROW) == []


def test_each_thing_that_must_not_be_is_named() -> None:
    """Unfinished, told otherwise, leased, miscounted, run after its record, missing, twice."""
    assert _found(replace(_ROW, status="waiting")) == ["1 effects in the journal unfinished: good"]
    others = {
        "with another outcome than was told": _found(_ROW, digest="other"),
        "with a lease left": _found(replace(_ROW, lease_token="t")),
        "with a wrong count of attempts": _found(replace(_ROW, attempts=2)),
        "run again after their record": _found(_ROW, run=replace(_RUN, at_ms=2_001)),
        "answered without a row": examine([], {"good": [("", False)]}, []),
        "with more than one row": examine([_ROW, _ROW], {}, [_RUN]),
    }
    for words, found in others.items():
        assert found == [f"1 effects in the journal {words}: good"]
