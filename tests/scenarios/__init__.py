"""
Whole stories, with real processes that are really killed.

::

    app.py           ── the worker under test: tools that count, wait, fail and die
    run_producer.py  ── a producer process: submits a plan, writes down all that it sees
    effects.py       ── the envelopes of a plan, the same in every process
    ledger.py        ── every execution of a body, counted outside of effectmq
    fleet.py         ── starts, stops and kills those processes, and nobody else's
    checker.py       ── what became of everything, in the words of Jepsen
    chaos.py         ── thousands of effects while workers and the broker are killed

There is no journal in these stories: outcomes live in the reply queue and bodies may run again. So
what is judged is that nothing is lost, nothing hangs, and that whoever is told twice is told the
same. Executions above one are counted and printed, never hidden.
"""
