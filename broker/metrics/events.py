"""
What the label ``event`` can say, and what each word means.

An event is told once it has happened. Those with a metric of their own are in the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OF_CLIENT", "OF_CONNECTION", "OF_MEMORY", "OF_WORKER"]

#: Of ``effectmq_worker_events_total``.
OF_WORKER: Mapping[str, str] = {
    "abandoned": "Handlers that did not stop when they were cancelled, and were left behind.",
    "abandoned_ended": "Those of them that ended later.",
    "admission_unavailable": (
        "Looks into the room of effects that wait for admission that failed; it is looked into "
        "again."
    ),
    "asks_dropped": "Questions of operators that were dropped, as too many are being answered.",
    "bodies_postponed": "Large bodies that could not be fetched yet, and are tried again.",
    "busy": "Effects that another worker has at hand; this one looks again later.",
    "chunks": "Pieces of streams that were sent.",
    "chunks_dropped": "Pieces of streams that could not be sent; the outcome has everything.",
    "claims": "Questions to the journal whether an effect may run.",
    "collected": "Messages that were taken out of limbo.",
    "defects": "Effects that ended by a defect of effectmq or of a database; the log has it.",
    "delayed": "Messages that were sent to a delay queue: sleeps, retries, later looks.",
    "elsewhere": "Effects that were given back for a worker that can carry them out.",
    "handed_on": "Effects that a worker that stops sent to the others.",
    "joined": "Copies of an effect that runs here already; they get its outcome.",
    "journal_refusals": "Requests that the journal refused, and would refuse again.",
    "journal_retries": "Requests that were tried again because the journal was away.",
    "last_chances": "Effects that run alone, because they may have ended workers.",
    "letters_noted": "Dead letters that were written into their index.",
    "letters_unnoted": "Dead letters that were not; the next look at the queue finds them.",
    "members_ignored": "Envelopes with members that this version does not know.",
    "notices_unreadable": "Messages on the control exchange that are no notices.",
    "outcomes_delivered_late": "Outcomes of dead letters that found their reply queue after all.",
    "outcomes_kept": "Outcomes without a reply queue, which are sent again.",
    "parked": "Dead letters that were published; `effectmq_parked_total` has their reasons.",
    "paused": "Waits for a retry or a lease inside of the worker.",
    "paused_for_permission": "Times that the worker stopped because it may not publish.",
    "probes": "Probes of `ping` and `doctor` that were answered.",
    "put_off": "Times that an effect went to a delay queue because it may not begin yet.",
    "recorded": "Ends that the journal accepted.",
    "rejected_oversize": "Messages that were larger than the limit of the worker, and were parked.",
    "replies": "Outcomes that were sent.",
    "replies_unroutable": "Outcomes whose reply queue is gone, or takes nothing.",
    "replies_unsendable": "Outcomes that cannot be sent, and would not be later.",
    "reply_messages": "Messages into which the sent outcomes were put together.",
    "roads_missing": "Times that a delay queue or the dead letters were gone; declared again.",
    "schedules_failed": "Times of schedules that could not be published, and are tried again.",
    "spend_refused": "Effects that were parked, because a ceiling on spend had no room.",
    "spend_waits": "Times that an effect began to wait, because a ceiling on spend had no room.",
    "superseded": "Effects that do not run, because a later one with their debounce key does.",
    "timeouts": "Attempts that reached their time limit.",
    "to_version": "Effects that were sent to the workers of another version.",
    "to_priority": "Effects that were sent to the queue of their priority.",
    "watched_dropped": "Pieces of streams that did not reach somebody who watches an effect.",
}

#: Of ``effectmq_client_events_total``.
OF_CLIENT: Mapping[str, str] = {
    "asked_again": "Effects that were published again, because their answer may be lost.",
    "cancelled": "Effects whose cancellation was sent.",
    "chunks": "Pieces of streams that arrived.",
    "chunks_unread": "Pieces of streams that nobody waits for any more.",
    "completed": "Handed-out effects that this client answered.",
    "completed_late": "Answers that did not count, because the effect had its outcome.",
    "duplicate": "Outcomes that came a second time.",
    "fetched": "Large outcomes that were fetched from the attachment store.",
    "journal_unavailable": "Effects that were published unasked, as the journal was away.",
    "late": "Outcomes that came after their caller had given up.",
    "publish_retries": "Publishes that were tried again.",
    "recalled": "Effects that the journal answered; nothing was published.",
    "unclaimed": "Outcomes that nobody asked for yet; they are kept for a while.",
    "unfetched": "Large outcomes that could not be fetched; their callers get an error.",
    "unreadable": "Messages on the reply queue that are no outcomes.",
}

#: Of ``effectmq_transport_events_total``.
OF_CONNECTION: Mapping[str, str] = {
    "consumer_cancels": "Consumers that the broker ended, for instance with their queue.",
    "deliveries": "Messages that arrived.",
    "published": "Messages that the broker confirmed.",
    "reconnects": "Connections that were made after one was lost.",
    "refused": "Messages that a queue did not take, as it is full.",
    "stale_acks": "Acknowledgements of a connection that is gone; the broker delivers again.",
    "stuck_publishes": "Messages that were sent again, as their channel did not answer.",
    "unknown_publishes": "Messages of which nobody knows whether the broker has them.",
    "unroutable": "Messages that no queue was bound for.",
}

#: Of a connection as well, but only of ``memory://``, which plays the broker's part too.
OF_MEMORY: Mapping[str, str] = {
    "blocked": "Publishes that waited for the end of an alarm in vain.",
    "dead_lettered": "Messages that a queue passed on as dead.",
    "dropped": "Messages that a queue had nobody to pass on to.",
    "expired_queues": "Queues that were deleted, as nobody used them.",
}
