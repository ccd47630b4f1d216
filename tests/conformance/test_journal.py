"""What every journal keeps: the rules of durable replay, on each database."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import (
    Abandon,
    Accepted,
    Begin,
    Busy,
    Cancel,
    Cancelled,
    Granted,
    InProgress,
    Letter,
    Lost,
    Mismatch,
    Missing,
    Record,
    Recorded,
    Release,
    Renew,
)
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.errors import DatabaseUnavailableError, InvalidEnvelopeError
from tests.conformance.asking import (
    LEASE_MS,
    claim_of,
    effect,
    envelope,
    finished,
    granted,
    said,
)
from tests.waiting import eventually

ERROR = '{"code":"c","message":"m"}'


#: What is told to whoever takes over from a worker that died.
AFTER_A_DEATH = Granted(2, 1, deaths=1, dead_workers=("worker",), begun=False)


@pytest.fixture
async def journal(database_url: str) -> AsyncGenerator[Journal]:
    """An open, empty journal."""
    async with Journal(database_url) as opened:
        yield opened


@pytest.fixture
async def other(database_url: str, journal: Journal) -> AsyncGenerator[Journal]:
    """The same journal, as another process has it open."""
    async with Journal(database_url) as opened:
        yield opened


async def expired(journal: Journal, asked: object = None, **changes: object) -> Granted:
    """A grant whose lease is over already, as if its holder had died."""
    del asked
    answer = await granted(journal, effect(), lease_ms=0, **changes)
    await eventually(lambda: _is_free(journal))
    return answer


async def _is_free(journal: Journal) -> bool:
    # Strict replay asks without taking.
    return isinstance(await journal.claim(claim_of(effect(), strict=True)), Missing)


class TestClaiming:
    async def test_the_first_claim_is_granted(self, journal: Journal) -> None:
        """With the first fence, the attempt of the message, and nothing to wait for."""
        assert await journal.claim(claim_of(effect(), attempt=3)) == Granted(1, 3)

    async def test_a_live_lease_keeps_everybody_else_out(
        self, journal: Journal, other: Journal
    ) -> None:
        """Whoever asks hears how long it lasts at most."""
        await granted(journal, effect())
        answer = await other.claim(claim_of(effect()))
        assert isinstance(answer, Busy)
        assert 0 < answer.wait_ms <= LEASE_MS

    async def test_a_lease_that_ran_out_is_taken_over_with_a_larger_fence(
        self, journal: Journal, other: Journal
    ) -> None:
        """Attempts are what the larger of row and message says."""
        first = await expired(journal, attempt=2)
        second = await granted(other, effect())
        assert second == replace(AFTER_A_DEATH, fence=first.fence + 1, attempt=2)

    async def test_a_death_counts_for_what_had_begun(
        self, journal: Journal, other: Journal
    ) -> None:
        """Of one that killed before it must be said; of one that was left in order nobody died."""
        identity = effect().identity
        await expired(journal)
        second = await expired(other)
        assert (second.deaths, second.begun) == (1, False)
        third = await expired(journal)
        assert (third.deaths, third.begun) == (1, False)
        assert await journal.hand_back(Begin(identity, second.fence)) == Lost()
        assert await journal.hand_back(Begin(identity, third.fence)) == Accepted()
        fourth = await granted(other, effect())
        assert (fourth.deaths, fourth.dead_workers) == (2, ("worker", "worker"))
        assert await other.hand_back(Begin(identity, fourth.fence)) == Accepted()
        assert await other.hand_back(Abandon(identity, fourth.fence)) == Accepted()
        assert (await granted(journal, effect())).deaths == 2

    async def test_who_lost_the_lease_can_change_nothing(
        self, journal: Journal, other: Journal
    ) -> None:
        """Neither record, nor renew, nor let go: what the second one records stands for ever."""
        first = await expired(journal)
        second = await granted(other, effect())
        identity = effect().identity
        for operation in (
            Release(identity, first.fence, 1, 0),
            Renew(identity, first.fence, LEASE_MS),
            Abandon(identity, first.fence),
        ):
            assert await journal.hand_back(operation) == Lost()
        assert await journal.record(said(effect(), first, '"zombie"')) == Lost()
        assert await other.record(said(effect(), second, '"second"')) == Accepted()
        assert await journal.record(said(effect(), first, '"zombie"')) == Lost()
        answer = await journal.claim(claim_of(effect()))
        assert answer == Recorded("completed", 1, '"second"', "")

    async def test_a_late_record_is_taken_while_nobody_else_has_the_effect(
        self, journal: Journal
    ) -> None:
        """A lease that ran out is lost only to somebody."""
        first = await expired(journal)
        assert await journal.record(said(effect(), first)) == Accepted()

    async def test_the_same_claim_asked_again_is_granted_again(self, journal: Journal) -> None:
        """Its first answer may have been lost; it is still one claim, with a full lease."""
        claim = claim_of(effect(), lease_ms=0)
        assert await journal.claim(claim) == Granted(1, 1)
        again = claim_of(effect(), token=claim.token)
        assert await journal.claim(again) == Granted(1, 1)
        assert isinstance(await journal.claim(claim_of(effect())), Busy)

    async def test_the_same_claim_asked_again_after_its_end_is_answered_from_the_record(
        self, journal: Journal
    ) -> None:
        """A token opens nothing that is finished."""
        claim = claim_of(effect())
        answer = await journal.claim(claim)
        assert isinstance(answer, Granted)
        await journal.record(said(effect(), answer))
        assert isinstance(await journal.claim(claim), Recorded)

    async def test_effects_of_other_scopes_are_other_effects(self, journal: Journal) -> None:
        """The key is scope id and replay key together, and not their concatenation."""
        for scope, key in (("a", "bc"), ("ab", "c"), ("a", "b"), ("", "abc"), ("A", "bc")):
            assert isinstance(await journal.claim(claim_of(effect(key, scope))), Granted)


class TestReplay:
    @pytest.mark.parametrize(
        "value",
        [
            'ä ß 漢字 😀 \u2028 \x7f \\ " \x00 \u0001',
            [0.1, 1e16, 1e-7, -0.0, 5e-324, 1.7976931348623157e308, 2**64 - 1, -(2**63)],
            "x" * 1_048_576,
            {"b": None, "a": [True, False, {}, []]},
        ],
        ids=["text", "numbers", "1 MiB", "shapes"],
    )
    async def test_outcomes_and_errors_come_back_byte_for_byte(
        self, journal: Journal, other: Journal, value: object
    ) -> None:
        """Whatever JSON can say."""
        outcome = canonical_json(value).decode()
        await finished(journal, effect("outcome"), outcome)
        answer = await granted(journal, effect("error"))
        await journal.record(said(effect("error"), answer, "", error_json=outcome))
        for reader in (journal, other):
            got = await reader.claim(claim_of(effect("outcome")))
            assert got == Recorded("completed", 1, outcome, "")
            got = await reader.claim(claim_of(effect("error")))
            assert got == Recorded("failed", 1, "", outcome)
            assert await reader.look(effect("outcome").identity) == Recorded(
                "completed", 1, outcome, ""
            )

    async def test_another_envelope_under_the_same_key_is_a_mismatch(
        self, journal: Journal
    ) -> None:
        """Whatever the state, strict or not; the stored envelope comes along, the record stays."""
        known, changed = effect(), effect(name="changed")
        answer = await granted(journal, known)
        expected = Mismatch(known.hash, envelope())
        for _ in range(2):  # in progress, then completed
            assert await journal.claim(claim_of(changed)) == expected
            assert await journal.claim(claim_of(changed, strict=True)) == expected
            assert await journal.look(changed.identity, changed.hash) == expected
            assert await journal.cancel(Cancel(changed, ERROR)) == expected
            await journal.record(said(known, answer))
        assert isinstance(await journal.claim(claim_of(known)), Recorded)

    async def test_a_mismatch_in_the_transaction_of_the_first_claim_knows_its_envelope(
        self, journal: Journal
    ) -> None:
        """The row that it is compared with is not written yet."""
        known, changed = effect(), effect(name="changed")
        _, answer = await asyncio.gather(
            journal.claim(claim_of(known)), journal.claim(claim_of(changed))
        )
        assert answer == Mismatch(known.hash, envelope())

    async def test_strict_replay_never_grants(self, journal: Journal) -> None:
        """Not even what nobody has, what is over, or what waits; a finished one is answered."""
        strict = claim_of(effect(), strict=True)
        assert await journal.claim(strict) == Missing()
        assert await journal.look(effect().identity) is None
        answer = await granted(journal, effect(), lease_ms=0)
        assert await journal.claim(strict) == Missing()
        await journal.hand_back(Release(effect().identity, answer.fence, 1, 0))
        assert await journal.claim(strict) == Missing()
        await finished(journal, effect())
        assert isinstance(await journal.claim(strict), Recorded)

    async def test_a_look_takes_nothing(self, journal: Journal) -> None:
        """It says what there is."""
        identity = effect().identity
        assert await journal.look(identity) is None
        answer = await granted(journal, effect())
        assert await journal.look(identity, effect().hash) == InProgress()
        await journal.hand_back(Release(identity, answer.fence, 1, 10_000))
        assert await journal.look(identity) == InProgress()

    async def test_replay_does_not_depend_on_the_order_of_anything(self, journal: Journal) -> None:
        """Started together, finished in the opposite order, asked for in swapped order."""
        keys = [str(number) for number in range(20)]
        answers = await asyncio.gather(*(granted(journal, effect(key)) for key in keys))
        for key, answer in reversed(list(zip(keys, answers, strict=True))):
            await journal.record(said(effect(key), answer, f'"{key}"'))
        random.Random(1).shuffle(keys)
        found = await asyncio.gather(*(journal.claim(claim_of(effect(key))) for key in keys))
        assert found == [Recorded("completed", 1, f'"{key}"', "") for key in keys]

    async def test_everything_survives_reopening(self, database_url: str) -> None:
        """Outcome, error, lease and fence."""
        async with Journal(database_url) as journal:
            await finished(journal, effect("done"), '"kept"')
            held = await granted(journal, effect("held"))
        async with Journal(database_url) as journal:
            answer = await journal.claim(claim_of(effect("done")))
            assert answer == Recorded("completed", 1, '"kept"', "")
            assert isinstance(await journal.claim(claim_of(effect("held"))), Busy)
            assert await journal.record(said(effect("held"), held)) == Accepted()

    async def test_one_journal_object_can_be_opened_again(self, database_url: str) -> None:
        """After it was closed; what is asked in between is refused."""
        journal = Journal(database_url)
        async with journal:
            await finished(journal, effect())
        with pytest.raises(DatabaseUnavailableError):
            await journal.claim(claim_of(effect()))
        async with journal:
            assert isinstance(await journal.claim(claim_of(effect())), Recorded)


class TestRecording:
    async def test_a_record_said_twice_is_accepted_when_it_is_the_same(
        self, journal: Journal
    ) -> None:
        """The answer to the first may have been lost. Another outcome never replaces the first."""
        answer = await granted(journal, effect())
        assert await journal.record(said(effect(), answer, '"a"')) == Accepted()
        assert await journal.record(said(effect(), answer, '"a"')) == Accepted()
        assert await journal.record(said(effect(), answer, '"b"')) == Lost()
        failed = said(effect(), answer, "", error_json=ERROR)
        assert await journal.record(failed) == Lost()
        got = await journal.claim(claim_of(effect()))
        assert got == Recorded("completed", 1, '"a"', "")

    async def test_nothing_is_recorded_of_what_was_never_claimed(self, journal: Journal) -> None:
        """Nor of what waits for its next attempt."""
        assert await journal.record(Record(effect().identity, 1, 1, '"x"')) == Lost()
        assert await journal.hand_back(Renew(effect().identity, 1, 5)) == Lost()
        assert await journal.look(effect().identity) is None
        answer = await granted(journal, effect())
        await journal.hand_back(Release(effect().identity, answer.fence, 1, 0))
        assert await journal.record(said(effect(), answer)) == Lost()

    async def test_claim_and_record_may_share_a_transaction(self, journal: Journal) -> None:
        """Operations on one effect keep the order in which they were asked."""
        answers = await asyncio.gather(
            journal.claim(claim_of(effect())),
            journal.record(Record(effect().identity, 1, 1, '"x"')),
            journal.claim(claim_of(effect())),
            journal.cancel(Cancel(effect(), ERROR)),
        )
        recorded = Recorded("completed", 1, '"x"', "")
        assert answers == [Granted(1, 1), Accepted(), recorded, recorded]


class TestWaiting:
    async def test_a_release_is_waited_for_and_then_claimed_again(self, journal: Journal) -> None:
        """With the next fence, and with what is left of the wait."""
        answer = await granted(journal, effect())
        release = Release(effect().identity, answer.fence, 4, 60_000)
        assert await journal.hand_back(release) == Accepted()
        assert await journal.hand_back(release) == Accepted()  # said twice
        again = await granted(journal, effect())
        assert (again.fence, again.attempt) == (2, 4)
        assert 0 < again.due_in_ms <= 60_000

    async def test_a_sleep_is_due_from_its_first_claim_on(self, journal: Journal) -> None:
        """Taking over does not start it anew."""
        first = await granted(journal, effect(), due_in_ms=60_000, lease_ms=0)
        assert first.due_in_ms == 60_000
        await eventually(lambda: _is_free(journal))
        second = await granted(journal, effect(), due_in_ms=90_000)
        assert 0 < second.due_in_ms <= 60_000

    async def test_a_sleep_longer_than_time_itself_is_kept(self, journal: Journal) -> None:
        """Durations have 64 bits, and so has the moment that they lead to."""
        first = await granted(journal, effect(), due_in_ms=2**64 - 1, lease_ms=0)
        assert first.due_in_ms > 10**15
        answer = await journal.hand_back(Release(effect().identity, 1, 2**63, 2**63 - 1))
        assert answer == Accepted()
        again = await granted(journal, effect())
        assert again.attempt == 2**63 - 1
        assert await journal.record(said(effect(), again, attempts=2**64)) == Accepted()

    async def test_a_lease_can_be_renewed(self, journal: Journal) -> None:
        """It then outlives its first length."""
        answer = await granted(journal, effect(), lease_ms=0)
        renewed = await journal.hand_back(Renew(effect().identity, answer.fence, LEASE_MS))
        assert renewed == Accepted()
        assert isinstance(await journal.claim(claim_of(effect())), Busy)


class TestUncertainty:
    async def test_what_must_not_run_twice_is_uncertain_when_its_holder_died(
        self, journal: Journal
    ) -> None:
        """A handler that may run twice hears nothing of it."""
        await expired(journal)
        plain = await granted(journal, effect(), lease_ms=0)
        assert not plain.uncertain
        await eventually(lambda: _is_free(journal))
        once = await granted(journal, effect(), on_uncertain="park")
        assert once.uncertain

    async def test_uncertainty_is_not_forgotten_with_a_lost_answer(self, journal: Journal) -> None:
        """The claim is asked again, and must not sound certain then."""
        await expired(journal)
        claim = claim_of(effect(), on_uncertain="park")
        for _ in range(2):
            answer = await journal.claim(claim)
            assert isinstance(answer, Granted)
            assert answer.uncertain

    async def test_uncertainty_is_not_forgotten_when_it_is_handed_back(
        self, journal: Journal
    ) -> None:
        """Whoever took it over may leave before it has parked it."""
        await expired(journal)
        answer = await granted(journal, effect(), on_uncertain="park")
        await journal.hand_back(Release(effect().identity, answer.fence, 1, 0))
        assert (await granted(journal, effect(), on_uncertain="park")).uncertain

    async def test_whoever_leaves_with_a_body_half_done_leaves_it_uncertain(
        self, journal: Journal
    ) -> None:
        """The lease ends at once."""
        answer = await granted(journal, effect())
        assert await journal.hand_back(Abandon(effect().identity, answer.fence)) == Accepted()
        assert (await granted(journal, effect(), on_uncertain="park")).uncertain

    async def test_a_wait_between_attempts_is_certain(self, journal: Journal) -> None:
        """Nobody died."""
        answer = await granted(journal, effect())
        await journal.hand_back(Release(effect().identity, answer.fence, 2, 0))
        assert not (await granted(journal, effect(), on_uncertain="park")).uncertain


class TestParking:
    async def park(self, journal: Journal, **changes: object) -> Accepted | Lost:
        answer = await granted(journal, effect(), **changes)
        parked = said(effect(), answer, "", error_json=ERROR, park_reason="exhausted")
        return await journal.record(parked)

    async def test_parkings_are_numbered_and_their_letter_is_noted(self, journal: Journal) -> None:
        """Until the dead letter is known to be out, whoever asks is told to see to it."""
        assert await self.park(journal) == Accepted(1)
        unsent = Recorded("failed", 1, "", ERROR, "exhausted", 1)
        assert await journal.claim(claim_of(effect())) == unsent
        identity = effect().identity
        assert await journal.hand_back(Letter(identity, 2)) == Lost()
        assert await journal.hand_back(Letter(identity, 1)) == Accepted()
        sent = Recorded("failed", 1, "", ERROR, "", 1)
        assert await journal.claim(claim_of(effect())) == sent

    async def test_a_parking_said_twice_has_one_number(self, journal: Journal) -> None:
        """The answer to the first may have been lost."""
        answer = await granted(journal, effect())
        parked = said(effect(), answer, "", error_json=ERROR, park_reason="rejected")
        assert await journal.record(parked) == Accepted(1)
        assert await journal.record(parked) == Accepted(1)

    async def test_a_dead_letter_is_replayed_once_by_its_number(self, journal: Journal) -> None:
        """A copy that comes again after the next parking does not replay that one, too."""
        await self.park(journal)
        assert isinstance(await journal.claim(claim_of(effect(), parked_as=7)), Recorded)
        assert await self.park(journal, parked_as=1) == Accepted(2)
        assert isinstance(await journal.claim(claim_of(effect(), parked_as=1)), Recorded)
        assert await self.park(journal, parked_as=2) == Accepted(3)

    async def test_an_edited_dead_letter_takes_the_key(self, journal: Journal) -> None:
        """Its envelope is the one that later ones are compared with, and is kept."""
        await self.park(journal)
        edited = effect(name="edited")
        answer = await granted(journal, edited, parked_as=1)
        assert answer.fence == 2
        expected = Mismatch(edited.hash, envelope("edited"))
        assert await journal.claim(claim_of(effect())) == expected
        await journal.record(said(edited, answer))
        assert isinstance(await journal.claim(claim_of(edited)), Recorded)

    async def test_a_replayed_one_is_certain_again(self, journal: Journal) -> None:
        """An operator has decided that it may run."""
        await expired(journal)
        answer = await granted(journal, effect(), on_uncertain="park")
        assert answer.uncertain
        parked = said(effect(), answer, "", error_json=ERROR, park_reason="uncertain")
        await journal.record(parked)
        again = await granted(journal, effect(), on_uncertain="park", parked_as=1)
        assert not again.uncertain

    async def test_what_failed_without_parking_is_not_replayed(self, journal: Journal) -> None:
        """A recorded error is the same error for ever."""
        answer = await granted(journal, effect())
        await journal.record(said(effect(), answer, "", error_json=ERROR))
        for number in (0, 1):
            got = await journal.claim(claim_of(effect(), parked_as=number))
            assert got == Recorded("failed", 1, "", ERROR)


class TestCancelling:
    async def test_what_is_cancelled_is_never_run(self, journal: Journal) -> None:
        """Seen or unseen, by name alone or with its envelope."""
        named = effect("named").identity
        unknown = type(effect())(named)
        for asked in (effect("whole"), unknown):
            assert await journal.cancel(Cancel(asked, ERROR)) == Cancelled()
            assert await journal.cancel(Cancel(asked, ERROR)) == Cancelled()
        for key in ("whole", "named"):
            got = await journal.claim(claim_of(effect(key)))
            assert got == Recorded("cancelled", 0, "", ERROR)

    async def test_who_runs_a_cancelled_effect_has_lost_it(self, journal: Journal) -> None:
        """Its outcome comes too late."""
        answer = await granted(journal, effect())
        assert await journal.cancel(Cancel(effect(), ERROR)) == Cancelled()
        assert await journal.hand_back(Renew(effect().identity, answer.fence, 1)) == Lost()
        assert await journal.record(said(effect(), answer)) == Lost()

    async def test_what_is_finished_cannot_be_cancelled(self, journal: Journal) -> None:
        """Whoever tries gets what there is."""
        await finished(journal, effect(), '"done"')
        got = await journal.cancel(Cancel(effect(), ERROR))
        assert got == Recorded("completed", 1, '"done"', "")

    async def test_of_cancel_and_record_exactly_one_wins(
        self, journal: Journal, other: Journal
    ) -> None:
        """Asked at once, of two processes, many times, in both orders."""
        luck = random.Random(7)
        keys = [str(number) for number in range(150)]
        held = {key: await granted(journal, effect(key)) for key in keys}
        winners: dict[str, set[str]] = {key: set() for key in keys}

        async def record(key: str) -> None:
            by = luck.choice([journal, other])
            if isinstance(await by.record(said(effect(key), held[key])), Accepted):
                winners[key].add("completed")

        async def cancel(key: str) -> None:
            by = luck.choice([journal, other])
            if isinstance(await by.cancel(Cancel(effect(key), ERROR)), Cancelled):
                winners[key].add("cancelled")

        racers = [racer(key) for key in keys for racer in (record, cancel)]
        luck.shuffle(racers)
        await asyncio.gather(*racers)
        seen = set()
        for key in keys:
            answer = await journal.claim(claim_of(effect(key)))
            assert isinstance(answer, Recorded)
            assert winners[key] == {answer.status}
            seen.add(answer.status)
        assert seen == {"completed", "cancelled"}


class TestConcurrency:
    async def test_of_many_who_claim_at_once_exactly_one_is_granted(
        self, database_url: str, journal: Journal
    ) -> None:
        """Several processes ask for the same keys, each in an order of its own."""
        luck = random.Random(3)
        keys = [str(number) for number in range(40)]
        journals = [Journal(database_url) for _ in range(5)]
        for opened in journals:
            await opened.__aenter__()
        asked = [(opened, key) for opened in journals for key in keys]
        luck.shuffle(asked)
        answers = await asyncio.gather(
            *(opened.claim(claim_of(effect(key))) for opened, key in asked)
        )
        for opened in journals:
            await opened.__aexit__()
        won = [key for (_, key), got in zip(asked, answers, strict=True) if got == Granted(1, 1)]
        assert sorted(won) == sorted(keys)
        others = [got for got in answers if got != Granted(1, 1)]
        assert all(isinstance(got, Busy) for got in others)

    async def test_a_takeover_is_granted_to_one_only(
        self, database_url: str, journal: Journal, other: Journal
    ) -> None:
        """However many find the lease run out."""
        await expired(journal)
        answers = await asyncio.gather(
            *(by.claim(claim_of(effect())) for _ in range(20) for by in (journal, other))
        )
        assert answers.count(AFTER_A_DEATH) == 1
        assert sum(isinstance(answer, Busy) for answer in answers) == 39

    async def test_a_caller_that_is_cancelled_loses_nothing(
        self, journal: Journal, other: Journal
    ) -> None:
        """What was asked is done."""
        answer = await granted(journal, effect())
        caller = asyncio.ensure_future(journal.record(said(effect(), answer, '"kept"')))
        caller.cancel()
        await eventually(lambda: _is_recorded(other))

    async def test_closing_answers_what_was_asked(self, database_url: str) -> None:
        """And nothing after that."""
        journal = Journal(database_url)
        await journal.__aenter__()
        claims = [journal.claim(claim_of(effect(str(number)))) for number in range(1_200)]
        looks = [journal.look(effect(str(number)).identity) for number in range(10)]
        await journal.__aexit__()
        assert {claim.result() for claim in claims} == {Granted(1, 1)}
        assert all(look.done() for look in looks)


async def _is_recorded(journal: Journal) -> bool:
    return isinstance(await journal.look(effect().identity), Recorded)


class TestRefusals:
    @pytest.mark.parametrize("bad", ["a\x00b", "a\ud800b"])
    async def test_a_name_that_cannot_be_kept_is_refused_before_it_hurts_others(
        self, journal: Journal, bad: str
    ) -> None:
        """Each database keeps some that the other does not; no journal takes either."""
        for unfit in (effect(bad), effect(scope=bad)):
            with pytest.raises(InvalidEnvelopeError, match="at position 1"):
                journal.claim(claim_of(unfit))
            with pytest.raises(InvalidEnvelopeError, match="choose another"):
                journal.cancel(Cancel(unfit, ERROR))
            with pytest.raises(InvalidEnvelopeError, match="cannot keep"):
                journal.look(unfit.identity)

    async def test_a_name_is_as_long_as_an_index_can_hold(self, journal: Journal) -> None:
        """Beyond that it is refused with a sentence, on every database alike."""
        luck = random.Random(5)
        longest = "".join(chr(luck.randrange(0x4E00, 0x9FFF)) for _ in range(796))
        asked = effect(longest, scope="0123456789")
        await finished(journal, asked)
        assert isinstance(await journal.claim(claim_of(asked)), Recorded)
        with pytest.raises(InvalidEnvelopeError, match="2401 bytes"):
            journal.claim(claim_of(effect(longest + "漢", scope="0123456789")))

    async def test_names_are_kept_as_they_are(self, journal: Journal) -> None:
        """No case folding, no normalisation, no trimming, no numbers for digits."""
        for key in ("é", "e\u0301", "É", " é", "é ", "1", "01", "1.0", "'; --", '"', "%s", "?", ""):
            assert isinstance(await journal.claim(claim_of(effect(key))), Granted)

    async def test_a_row_that_makes_no_sense_is_an_error_and_not_run(
        self, journal: Journal
    ) -> None:
        """Damaged, or written by something else; a guess would be worse."""
        for key, change in {
            "a": "status = 'completed', outcome_json = ''",
            "b": "status = 'failed', error_json = ''",
            "c": "status = 'odd'",
        }.items():
            await granted(journal, effect(key))
            statement = f"UPDATE effectmq_effects SET {change} WHERE replay_key = '{key}'"
            await journal.database.write(lambda tx, what=statement: tx.execute(what))
        messages = {
            "a": "completed runtime effect row is missing outcome_json",
            "b": "failed runtime effect row is missing error_json",
            "c": "unknown runtime effect replay status `odd`",
        }
        for key, message in messages.items():
            for answer in (
                await journal.claim(claim_of(effect(key))),
                await journal.look(effect(key).identity),
                await journal.cancel(Cancel(effect(key), ERROR)),
            ):
                assert isinstance(answer, Recorded)
                assert answer.status == "failed"
                error = json.loads(answer.error_json)
                assert error == {"code": "effectmq_corrupt_row", "message": message}
            assert await journal.record(Record(effect(key).identity, 1, 1, '"x"')) == Lost()
