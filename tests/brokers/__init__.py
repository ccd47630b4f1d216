"""
Real RabbitMQ brokers for the tests, on this machine, without Docker.

::

    settings.py  ── which brokers does this session want? (environment, read once)
    provide.py   ── one shared node for each, private ones on demand, all gone at the end
    finding.py   ── where is such a RabbitMQ: on the PATH, from apt, in a debootstrapped folder
    node.py      ── one private node: start, stop, kill -9, freeze, ask
    cluster.py   ── three nodes that are one broker, each to be killed or frozen alone
    greeting.py  ── does an AMQP port answer, and which RabbitMQ is it?
    proxy.py     ── a TCP proxy that misbehaves as told
    sweep.py     ── remove what one test declared

``python -m tests.brokers`` installs whatever the session will need, ahead of it.
"""
