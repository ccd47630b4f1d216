"""
The composition root: ``Client`` and ``Worker`` as users meet them, a module for each, so that a
program with one of them does not load the other.

They are the classes of the rooms with one addition: arguments that are not given come from the
command line and the environment.
"""
