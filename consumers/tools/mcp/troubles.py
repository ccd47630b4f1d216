"""
From a failed call on an MCP server to the failure of its tool. Pure.

================================  =====================  ====================  =====================
what happened                     class                  code                  retry
================================  =====================  ====================  =====================
nothing was called                ``unavailable``        ``mcp_unavailable``   yes
429, 503                          ``unavailable``        ``mcp_unavailable``   yes, after its wait
the connection was lost           ``unavailable``        ``mcp_unavailable``   a policy, or harmless
other 5xx, 408                    ``unavailable``        ``mcp_unavailable``   a policy, or harmless
401, 403                          ``permission_denied``  ``mcp_unauthorized``  no
413                               ``resource_limit``     ``mcp_error``         no
an answer that cannot be read     ``external``           ``mcp_unreadable``    a policy, or harmless
the server's own error            ``external``           ``mcp_error``         a policy
other 4xx                         ``external``           ``mcp_error``         a policy
================================  =====================  ====================  =====================
"""

from __future__ import annotations

from effectmq.consumers.tools.mcp.connection import status_of, told
from effectmq.consumers.tools.mcp.messages import Trouble
from effectmq.protocol.errors import ToolCallError
from effectmq.protocol.text import printable

__all__ = ["failure_of", "unavailable"]

_REFUSED_UNREAD = frozenset({429, 503})


def failure_of(who: str, trouble: Trouble, *, repeatable: bool, harmless: bool) -> ToolCallError:
    """
    The failure of a call.

    Args:
        who: The server.
        trouble: What went wrong.
        repeatable: Whether a failure may be tried again.
        harmless: Whether the tool may run again when it is unknown how far it came.
    """
    again = repeatable or harmless
    match trouble.origin:
        case "not_called":
            return unavailable(f"{who} cannot be reached: {trouble.reason}", retry=True)
        case "lost":
            return unavailable(
                f"the connection to {who} was lost while the tool ran, and it is unknown how far "
                f"it came: {trouble.reason}",
                retry=again,
            )
        case "http":
            return _by_status(who, trouble, repeatable, again)
        case "unreadable":
            return ToolCallError(
                f"{who} answered, but {told(trouble)}; correct the server",
                code="mcp_unreadable",
                class_="external",
                retry=again,
            )
        case _:
            return ToolCallError(
                f"{who} answered: {printable(trouble.reason)}",
                code="mcp_error",
                class_="external",
                retry=repeatable,
            )


def unavailable(message: str, *, retry: bool, after_s: float | None = None) -> ToolCallError:
    """The failure of a call that the server may carry out later."""
    return ToolCallError(
        message,
        code="mcp_unavailable",
        class_="unavailable",
        source="runtime",
        retry=retry,
        after_s=after_s,
    )


def _by_status(who: str, trouble: Trouble, repeatable: bool, again: bool) -> ToolCallError:
    status = trouble.status
    words = f": {printable(trouble.reason)}" if trouble.reason else ""
    said = f"{who} answered HTTP {status_of(status)}{words}"
    if status in _REFUSED_UNREAD:
        wait = "" if trouble.after_s is None else f"; it asks to wait {trouble.after_s:g} s"
        return unavailable(
            f"{said}; the tool did not run{wait}", retry=True, after_s=trouble.after_s
        )
    if status >= 500 or status == 408:
        return unavailable(
            f"{said}; it is unknown how far the tool came", retry=again, after_s=trouble.after_s
        )
    if status in (401, 403):
        return ToolCallError(
            f"{said}; check the headers= that this worker gives to it",
            code="mcp_unauthorized",
            class_="permission_denied",
            source="runtime",
        )
    return ToolCallError(
        said,
        code="mcp_error",
        class_="resource_limit" if status == 413 else "external",
        retry=repeatable and status != 413,
    )
