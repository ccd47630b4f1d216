"""
An MCP server of no library, to start: it says on stdout whatever a call tells it to say.

``python odd.py LOG LISTING``: it writes into the file LOG that it starts, and the names of the
calls that arrive; LISTING is a file of JSON: ``tools`` to list beside its own, ``cursors`` for
the pages after them.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

NAMES = ["content", "error", "exit", "line", "change", "wait", "shout", "noise", "big", "deaf"]
LOCK = threading.Lock()
RELEASED = threading.Event()
STATE: dict[str, Any] = {"tools": [], "cursors": []}


def write(line: bytes) -> None:
    """One line, as it is."""
    with LOCK:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()


def send(**message: Any) -> None:
    """One message."""
    write(json.dumps({"jsonrpc": "2.0", **message}).encode())


def text(said: str) -> dict[str, Any]:
    """A result of one text."""
    return {"content": [{"type": "text", "text": said}]}


# One case for each oddity.
def call(id_: Any, name: str, args: dict[str, Any]) -> None:  # noqa: C901
    """Do what a call says."""
    match name:
        case "content":
            send(id=id_, result=args["result"])
        case "error":
            send(id=id_, error=args)
        case "exit":
            os._exit(args["code"])
        case "line":
            # Latin-1, so that any bytes can be asked for.
            for line in args["lines"]:
                write(line.replace("%ID%", str(id_)).encode("latin-1"))
        case "change":
            STATE["tools"] = args["tools"]
            send(method="notifications/tools/list_changed")
            send(id=id_, result=text("changed"))
        case "big":
            send(id=id_, result=text("x" * 17 * 1024 * 1024))
        case "wait":
            RELEASED.wait()
            send(id=id_, result=text("waited"))
        case "shout":
            sys.stderr.write(args["text"])
            sys.stderr.flush()
            send(id=id_, result=text("shouted"))
        case "noise":
            write(args["text"].encode())
            send(id=id_, result=text("done"))
        case _:
            send(id=id_, result=text(f"{name} done"))
            if name == "release":
                RELEASED.set()


def listing(cursor: str | None) -> dict[str, Any]:
    """A page of the list of tools."""
    own = [{"name": name, "inputSchema": {"type": "object"}} for name in [*NAMES, "release"]]
    cursors = STATE["cursors"]
    if cursor is None:
        page: dict[str, Any] = {"tools": own + STATE["tools"]}
        return {**page, "nextCursor": cursors[0]} if cursors else page
    number = min(cursors.index(cursor), len(cursors) - 1)
    following = cursors[number + 1 : number + 2]
    return {"tools": [], **({"nextCursor": following[0]} if following else {})}


def main(log: Path, told: Path) -> None:
    """Serve until stdin ends."""
    STATE.update(json.loads(told.read_text()))

    def note(words: str) -> None:
        with log.open("a") as file:
            file.write(words)

    note("started\n")
    for line in sys.stdin:
        message = json.loads(line)
        id_, params = message.get("id"), message.get("params") or {}
        match message["method"]:
            case "initialize":
                server = {"name": "odd", "version": "1"}
                capabilities = {"tools": {"listChanged": True}}
                version = params["protocolVersion"]
                send(
                    id=id_,
                    result={
                        "protocolVersion": version,
                        "capabilities": capabilities,
                        "serverInfo": server,
                    },
                )
            case "tools/list":
                send(id=id_, result=listing(params.get("cursor")))
            case "tools/call":
                note(params["name"] + "\n")
                if params["name"] == "deaf":
                    threading.Event().wait()
                work = (id_, params["name"], params.get("arguments") or {})
                threading.Thread(target=call, args=work, daemon=True).start()
            case "ping":
                send(id=id_, result={})
            case _ if id_ is not None:
                send(id=id_, error={"code": -32601, "message": "no such method"})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
