"""
The process registry, written once over the database port.

``ProcessRegistry`` is its interface. The other modules are functions of a transaction, one for each
kind of row; the rules themselves are in ``protocol/processes`` and know no storage.
"""
