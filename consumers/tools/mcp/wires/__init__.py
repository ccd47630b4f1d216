"""
The two ways to a server, below the library: what goes over them is read here first.

Each request that leaves gets exactly one answer, whatever the server does, and each error says
where it came from.
"""
