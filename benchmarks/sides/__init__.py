"""
The two sides of a comparison, each as real processes.

::

    processes.py   ── starts a client and its workers, reads their clocks
    spec.py        ── what a process is told
    client.py      ── the client's process, the same for both sides
    plain.py       ── aio-pika by hand: client, and the worker's process
    ours.py        ── the client of effectmq
    app.py         ── what ``effectmq worker`` runs; marks.py is what it notes
    loops.py       ── the event loop; machine.py: what the kernel knows of a process
"""
