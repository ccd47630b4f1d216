"""
Whole stories, with real processes that are really killed.

::

    app.py           ── the worker under test: tools that count, wait, fail and die
    run_producer.py  ── a producer process: submits a plan, writes down all that it sees
    records.py       ── what it wrote down
    effects.py       ── the envelopes of a plan, the same in every process
    ledger.py        ── every execution of a body, counted outside of effectmq
    fleet.py         ── starts, stops and kills those processes, and nobody else's
    nursery.py       ── where they come from: forked off one that has imported everything
    checker.py       ── what became of everything, in the words of Jepsen
    audit.py         ── what the journal says of it
    faults.py        ── what is killed, how often, and what takes its place
    producers.py     ── producers that are killed, and go on under their identities
    hostile.py       ── effects that kill their workers, messages that are no effects
    chaos.py         ── thousands of effects meanwhile; a command of its own

Workers without a journal may run bodies again: their outcomes live in the reply queue. What is
judged is that nothing is lost, nothing hangs, and that whoever is told twice is told the same, up
to the time that it took. Executions above one are counted and printed, never hidden.

Workers with a journal are judged harder. Their bodies draw a number, so that no two executions give
the same; every answer must be the same to the last byte, and what the journal has must be what
everybody was told. A body may still run again when its worker dies before the record, and never
after it.
"""
