"""Which job leads for an effect."""

from __future__ import annotations

from effectmq.consumers.pipeline.inflight import InFlight
from effectmq.protocol.messages.request import Identity

ONE = Identity("t1", "k")


def test_the_first_job_leads_until_it_is_released() -> None:
    """Later ones are told who leads; another scope or key is another effect."""
    book: InFlight[str] = InFlight()
    assert book.lead(ONE, "first") == "first"
    assert book.lead(ONE, "second") == "first"
    assert book.lead(ONE, "first") == "first", "a retry of the leader leads again"
    assert book.lead(Identity("t2", "k"), "third") == "third"
    assert book.lead(Identity("t1", "l"), "fourth") == "fourth"
    assert len(book) == 3
    book.release(ONE, "first")
    assert book.lead(ONE, "second") == "second"


def test_a_job_that_does_not_lead_releases_nothing() -> None:
    """A follower that ends must not free the way for a third."""
    book: InFlight[str] = InFlight()
    book.lead(ONE, "first")
    book.release(ONE, "second")
    book.release(Identity("t2", "k"), "second")
    assert book.lead(ONE, "third") == "first"
    book.release(ONE, "first")
    book.release(ONE, "first")
    assert len(book) == 0
