"""
Every metric of effectmq: name, unit, labels and meaning.

Labels have few values. Routes, tools and models are those that a worker was given, reasons and
results are words of ours, and events are names in this code: nothing that a message says becomes
a label.
"""

from __future__ import annotations

from effectmq.broker.metrics.instruments import Metric

__all__ = [
    "ADMISSION_FULL",
    "ADMISSION_SHUT",
    "ADMISSION_WAITING",
    "ADMITTED",
    "ATTEMPTS",
    "CATALOG",
    "CLIENT_EVENTS",
    "CLIENT_OUTCOMES",
    "CLIENT_WAITING",
    "CLIENT_WAITS",
    "CONFLICTS",
    "CONNECTED",
    "CONSUMING",
    "DELIVERIES",
    "HANDED_OUT",
    "IN_FLIGHT",
    "JOURNAL_TIMES",
    "LEASES_LOST",
    "LOOP_LAG",
    "MODEL_CALLS",
    "MODEL_COST",
    "MODEL_LIMITED",
    "MODEL_TOKENS",
    "NOT_ADMITTED",
    "OUTCOMES",
    "PARKED",
    "PAUSED",
    "QUEUE_WAITS",
    "RAMP",
    "REPLAYS",
    "REPLY_TIMES",
    "RESULTS_DISCARDED",
    "RETRIES",
    "RUN_TIMES",
    "SCHEDULES_LATE",
    "SCHEDULE_TIMES",
    "SLOTS",
    "SUBMITTED",
    "TOOL_CALLS",
    "TRANSPORT_EVENTS",
    "UNANSWERED",
    "WORKER",
    "WORKER_EVENTS",
]

_ROUTE = ("route",)

DELIVERIES = Metric(
    "effectmq_deliveries", "counter", "Messages that arrived on a route of this worker.", _ROUTE
)
ATTEMPTS = Metric("effectmq_attempts", "counter", "Runs of a handler that began.", _ROUTE)
OUTCOMES = Metric(
    "effectmq_outcomes",
    "counter",
    "Outcomes that this worker's handlers gave; a tool or a model that failed is a failure.",
    ("route", "result"),
)
PARKED = Metric(
    "effectmq_parked",
    "counter",
    "Effects that were given up and are dead letters now.",
    ("route", "reason"),
)
RETRIES = Metric(
    "effectmq_retries", "counter", "Attempts that failed and are followed by another.", _ROUTE
)
REPLAYS = Metric(
    "effectmq_replays", "counter", "Effects answered from the journal; no handler ran.", _ROUTE
)
CONFLICTS = Metric(
    "effectmq_conflicts",
    "counter",
    "Effects refused because another envelope has their replay key.",
    _ROUTE,
)
RESULTS_DISCARDED = Metric(
    "effectmq_results_discarded",
    "counter",
    "Results that did not count, because the lease of their effect was lost.",
    _ROUTE,
)
ADMITTED = Metric(
    "effectmq_admitted",
    "counter",
    "Attempts that a limit of the fleet admitted on arrival.",
    _ROUTE,
)
NOT_ADMITTED = Metric(
    "effectmq_not_admitted",
    "counter",
    "Deliveries whose effect was not admitted, or had no slot on a shared route, and waits in the "
    "room.",
    _ROUTE,
)
ADMISSION_FULL = Metric(
    "effectmq_admission_full",
    "counter",
    "Deliveries whose effect was not admitted, and went back to the broker: the room is full.",
    _ROUTE,
)
ADMISSION_WAITING = Metric(
    "effectmq_admission_waiting",
    "gauge",
    "Effects of the namespace that wait for admission, as this worker counted last.",
    _ROUTE,
)
ADMISSION_SHUT = Metric(
    "effectmq_admission_shut",
    "gauge",
    "Values of a limit's key that a wait or failures shut: nothing starts, or one alone asks.",
    ("limit",),
)
HANDED_OUT = Metric(
    "effectmq_handed_out",
    "counter",
    "Effects that a handler handed out, for a person or another system to answer.",
    _ROUTE,
)
UNANSWERED = Metric(
    "effectmq_unanswered",
    "counter",
    "Handed-out effects that this worker found to have failed, because nobody answered in time.",
    _ROUTE,
)
IN_FLIGHT = Metric("effectmq_in_flight", "gauge", "Effects that a worker has at hand.", _ROUTE)
SLOTS = Metric(
    "effectmq_slots", "gauge", "Effects of a route that may run at the same time.", _ROUTE
)
PAUSED = Metric(
    "effectmq_paused",
    "gauge",
    "1 while somebody has paused a route, for all workers or for this one; else 0.",
    _ROUTE,
)
RAMP = Metric(
    "effectmq_ramp_share",
    "gauge",
    "The share of a version while a route is ramped, of what is bound to no version; from 0 to 1.",
    ("route", "version"),
)
QUEUE_WAITS = Metric(
    "effectmq_queue_wait_seconds",
    "histogram",
    "Time from publishing to the first delivery, by the clocks of two hosts, in whole seconds.",
    _ROUTE,
    "seconds",
)
RUN_TIMES = Metric(
    "effectmq_run_seconds", "histogram", "Time that one attempt took.", _ROUTE, "seconds"
)
JOURNAL_TIMES = Metric(
    "effectmq_journal_seconds",
    "histogram",
    "Time that the journal took to answer; `record` is the commit of an outcome.",
    ("operation",),
    "seconds",
)
REPLY_TIMES = Metric(
    "effectmq_reply_seconds",
    "histogram",
    "Time until the broker confirmed a message of outcomes.",
    (),
    "seconds",
)
LEASES_LOST = Metric(
    "effectmq_leases_lost", "counter", "Leases that ended before their effect did."
)
SCHEDULE_TIMES = Metric(
    "effectmq_schedule_times",
    "counter",
    "Times of schedules that this worker carried out (`fired`), or gave up because nobody had "
    "looked for too long (`given_up`).",
    ("result",),
)
SCHEDULES_LATE = Metric(
    "effectmq_schedule_late_seconds",
    "histogram",
    "How late the times of schedules were carried out, by the database's clock.",
    (),
    "seconds",
)
TOOL_CALLS = Metric("effectmq_tool_calls", "counter", "Attempts at tool calls.", ("tool", "result"))
MODEL_CALLS = Metric(
    "effectmq_model_calls", "counter", "Requests to providers of models.", ("model", "result")
)
MODEL_TOKENS = Metric(
    "effectmq_model_tokens",
    "counter",
    "Tokens as the provider counts them; `cached_input` is part of `input`, "
    "`reasoning` part of `output`.",
    ("model", "type"),
)
MODEL_LIMITED = Metric(
    "effectmq_model_limited",
    "counter",
    "Requests that a provider refused because there were too many (429).",
    ("model",),
)
MODEL_COST = Metric(
    "effectmq_model_cost_usd",
    "counter",
    "What calls have cost in US dollars, where a price is known.",
    ("model",),
)
WORKER_EVENTS = Metric(
    "effectmq_worker_events", "counter", "What else a worker counts.", ("event",)
)
LOOP_LAG = Metric(
    "effectmq_loop_lag_seconds",
    "gauge",
    "How late the event loop is; handlers that do not await make it late.",
    (),
    "seconds",
)
CONSUMING = Metric(
    "effectmq_ready", "gauge", "1 when the worker takes effects on all of its routes, else 0."
)
WORKER = Metric(
    "effectmq_worker", "gauge", "1; its labels say which worker this is.", ("worker", "version")
)
SUBMITTED = Metric("effectmq_submitted", "counter", "Effects that a client published.")
CLIENT_OUTCOMES = Metric("effectmq_client_outcomes", "counter", "Outcomes that found their caller.")
CLIENT_WAITING = Metric(
    "effectmq_client_waiting", "gauge", "Effects whose outcome a client waits for."
)
CLIENT_WAITS = Metric(
    "effectmq_client_wait_seconds",
    "histogram",
    "Time from submitting an effect to its outcome, in the client.",
    (),
    "seconds",
)
CLIENT_EVENTS = Metric(
    "effectmq_client_events", "counter", "What else a client counts.", ("event",)
)
CONNECTED = Metric(
    "effectmq_connected", "gauge", "1 while there is a connection to the broker, else 0.", ("side",)
)
TRANSPORT_EVENTS = Metric(
    "effectmq_transport_events",
    "counter",
    "What a connection to the broker counts.",
    ("side", "event"),
)

#: All of them, in the order of the docs.
CATALOG = (
    DELIVERIES,
    ATTEMPTS,
    OUTCOMES,
    PARKED,
    RETRIES,
    REPLAYS,
    CONFLICTS,
    RESULTS_DISCARDED,
    ADMITTED,
    NOT_ADMITTED,
    ADMISSION_FULL,
    ADMISSION_WAITING,
    ADMISSION_SHUT,
    HANDED_OUT,
    UNANSWERED,
    IN_FLIGHT,
    SLOTS,
    PAUSED,
    RAMP,
    QUEUE_WAITS,
    RUN_TIMES,
    JOURNAL_TIMES,
    REPLY_TIMES,
    LEASES_LOST,
    SCHEDULE_TIMES,
    SCHEDULES_LATE,
    TOOL_CALLS,
    MODEL_CALLS,
    MODEL_TOKENS,
    MODEL_LIMITED,
    MODEL_COST,
    WORKER_EVENTS,
    LOOP_LAG,
    CONSUMING,
    WORKER,
    SUBMITTED,
    CLIENT_OUTCOMES,
    CLIENT_WAITING,
    CLIENT_WAITS,
    CLIENT_EVENTS,
    CONNECTED,
    TRANSPORT_EVENTS,
)
