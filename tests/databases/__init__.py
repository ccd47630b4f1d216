"""
PostgreSQL for the tests, on this machine, without Docker; SQLite needs nothing.

::

    finding.py   ── where are the programs: installed, or from apt
    cluster.py   ── one private server: start, stop, kill -9, freeze
    provide.py   ── one shared server, private ones on demand, all gone at the end
    fixtures.py  ── what a test asks for: ``database_url``, ``postgres_url``, ``private_postgres``

The shared server is, in this order: the address in ``EFFECTMQ_TEST_POSTGRES``; the one that trusts
user ``postgres`` on 127.0.0.1:5432; a private one of the programs that are installed, or that apt
can install for root. ``python -m tests.databases`` makes sure of it ahead of the tests.
"""
