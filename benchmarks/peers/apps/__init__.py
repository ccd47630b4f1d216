"""
One module for each library: its app, which a worker imports, and its client.

They run in the environment of the peers, which has neither effectmq nor what its tests need. Each
is set up as its own pages show it first, and once more, where they know how, as carefully as they
do: ``spec.careful``.
"""
