"""
The module paths of the releases before 0.2, for programs that still import from them.

An import from such a path works for one release: it gives the same classes and functions, and a
``DeprecationWarning`` that names the new path. Imports of existing modules are not slowed down.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

__all__ = ["MOVED", "install", "names_of"]

#: (old package, new package, modules); a renamed module is written ``old=new``.
_ROOMS = (
    ("protocol.messages", "protocol.messages.notices", "cancel_notice=cancel probe"),
    ("", "settings", "environment journal_place=default_journal"),
    ("broker", "broker.client", "handle"),
    (
        "broker",
        "broker.client.asking",
        "asking_again=again missing notices=cancelling timeouts",
    ),
    (
        "broker",
        "broker.client.replies",
        "claimed_replies=large replies=book reply_queue=queue",
    ),
    ("broker", "broker.client.turns", "scopes=turn"),
    (
        "broker",
        "broker.dead_letters",
        "deadletter_content=content deadletter_edit=edit deadletter_filter=filter "
        "deadletter_report=report deadletters=dead_letters",
    ),
    (
        "broker",
        "broker.dead_letters.queue",
        "deadletter_browser=browser deadletter_settling=settling deadletter_windows=windows",
    ),
    ("broker", "broker.store", "attachments databases=database journal processes sessions"),
    ("broker", "broker.store.attachments", "claimcheck=large_bodies"),
    ("broker", "broker.store.database", "database=port schema"),
    ("broker", "broker.transports", "addresses limits publishing refusals settings transport=port"),
    ("broker", "protocol", "url_options urls"),
    (
        "broker.client",
        "broker.client.asking",
        "asking_again=again cancelling missing timeouts",
    ),
    ("broker.client", "broker.client.replies", "large_replies=large reply_queue=queue"),
    ("broker.client", "broker.client.turns", "executing options process_scope"),
    ("broker.client", "broker.client.turns.tool_calls", "functions"),
    (
        "broker.attachments",
        "broker.store.attachments",
        "directory memory objects opening references s3 settings store",
    ),
    ("broker.databases", "broker.store.database", "belonging faults"),
    (
        "broker.databases",
        "broker.store.database.postgres",
        "postgres=adapter postgres_address=address postgres_errors=errors",
    ),
    ("broker.databases", "broker.store.database.sqlite", "clock mounts sqlite=adapter"),
    ("broker.dead_letters", "broker.dead_letters.queue", "browser settling windows"),
    ("broker.journal", "broker.store.database", "groupcommit=group_commit"),
    (
        "broker.journal",
        "broker.store.journal",
        "choice journal recalling=recall records rules steps tables",
    ),
    (
        "broker.journal",
        "broker.store.journal.archive",
        "archive lineage pruning selecting statistics summaries tail verifying",
    ),
    (
        "broker.processes",
        "broker.store.processes",
        "bells=notifier events handles leases records registry tables writes",
    ),
    ("broker.sessions", "broker.store.sessions", "inbox"),
    (
        "broker.transports.rabbitmq",
        "broker.transports.rabbitmq.driver",
        "address errors outbox refused",
    ),
    (
        "broker.transports.rabbitmq",
        "broker.transports.rabbitmq.connection",
        "backoff ending rotation supervisor",
    ),
    (
        "cli",
        "cli.arguments",
        "journal_options options parsers setting_options suggestions",
    ),
    ("cli", "cli.program", "loading reloading"),
    ("cli", "cli.submit", "tool_names"),
    ("consumers", "consumers.decisions", "lifecycle=delivery retry retry_after undelivered=deaths"),
    ("consumers", "consumers.fleet", "abilities quarantine witnesses"),
    ("consumers", "consumers.outboxes", "chunks replies roads settlement"),
    (
        "consumers",
        "consumers.pipeline",
        "answers ending inflight job lane=route limbo=collector recording=leases",
    ),
    ("consumers", "consumers.pipeline.reading", "bodies ignored unread"),
    ("consumers", "consumers.pipeline.running", "attempt due retry_sleeps"),
    ("consumers", "consumers.runtime", "abandoned health shutdown threads watchdog"),
    ("consumers", "consumers.tools", "mcp tool_context=context tool_handler=handler"),
    ("consumers", "consumers.tools.functions", "signatures tool_functions=typed"),
    (
        "consumers",
        "consumers.tools.results",
        "plain_data tool_outputs=outputs tool_results=special",
    ),
    ("consumers.code", "consumers.code.data", "images projection values"),
    ("consumers.code", "consumers.code.monty", "rlimits showing"),
    ("consumers.code", "consumers.code.state", "database_sessions sessions"),
    (
        "consumers.llm",
        "consumers.llm.hosted",
        "clients conversation requests responses targets tool_names",
    ),
    ("consumers.llm", "consumers.llm.reading", "bodies chat failures tool_calls wire"),
    (
        "consumers.mcp",
        "consumers.tools.mcp",
        "connection line listing messages results servers source troubles wires",
    ),
    ("consumers.mcp.wires", "consumers.tools.mcp.wires", "http pending stdio"),
    (
        "consumers.tools",
        "consumers.tools.functions",
        "callables hints reading_back schemas signatures",
    ),
    ("consumers.tools", "consumers.tools.results", "outputs pieces plain_data references"),
    (
        "protocol",
        "protocol.encoding",
        "canonical codec differences jsontext limits opaque rust_text",
    ),
    ("protocol", "protocol.encoding.serde", "model problems reading tagging"),
    ("protocol", "protocol.identity", "canonicalize digests invocations validation"),
    (
        "protocol",
        "protocol.messages",
        "chunk claimcheck=body_reference deadletter=dead_letter headers message "
        "notice=cancel_notice probe reply request unknown",
    ),
    ("protocol", "protocol.tool_calls", "model_calls=from_model model_return=to_model"),
    ("protocol", "protocol.wire", "media_types"),
    ("protocol.encoding", "protocol.encoding.serde", "model problems reading tagging"),
)


def _moved() -> dict[str, str]:
    table: dict[str, str] = {}
    for old_package, new_package, modules in _ROOMS:
        for module in modules.split():
            old, _, new = module.partition("=")
            former = ".".join(part for part in ("effectmq", old_package, old) if part)
            table[former] = f"effectmq.{new_package}.{new or old}"
    return table


#: The old path of each module that moved, and its new one.
MOVED = _moved()


class _Finder:
    """Finds a module at its old path; Python asks it last, when no file was found."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in MOVED:
            return None
        # The base class is not needed at run time, and importing it takes longer than everything
        # here.
        return ModuleSpec(fullname, cast("Loader", _Loader(MOVED[fullname])), is_package=True)


class _Loader:
    """Makes a module with the names of the module at the new path."""

    def __init__(self, new: str) -> None:
        self._new = new

    def create_module(self, _spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        _warn(module.__name__, self._new)
        home = import_module(self._new)
        names = {name: value for name, value in vars(home).items() if not name.startswith("__")}
        vars(module).update(names, __all__=getattr(home, "__all__", list(names)))


def names_of(package: str, module: str) -> Callable[[str], object]:
    """
    The ``__getattr__`` of a package that was a module before.

    Args:
        package: The path, now of a package.
        module: The module in it that has the names.
    """
    home = f"{package}.{module}"

    def look(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(home), name)
        _warn(package, home)
        return value

    return look


def install() -> None:
    """Let old paths be found. Calling it twice changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"{old} has moved: import from {new}. The old place goes with the next release.",
        DeprecationWarning,
        stacklevel=3,
    )
