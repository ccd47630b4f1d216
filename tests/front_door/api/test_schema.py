"""The OpenAPI document is what the API does, and stands in docs/schema."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from effectmq.api.access.tokens import Tokens
from effectmq.api.app import create_app, openapi_document
from effectmq.broker.place import Place
from effectmq.monitoring.server import listening
from tests.front_door.api.stage import some_effects

PAGE = Path(__file__).parents[3] / "docs" / "schema" / "openapi.json"
TOKEN = "a-token-of-a-machine"
#: A stream has no end, and signing out ends what others are about to use.
LEFT_OUT = ("/api/v1/events", "/api/v1/effects/{name}/stream", "/api/v1/session")


def test_the_document_is_in_the_docs() -> None:
    """Run ``effectmq api --openapi > docs/schema/openapi.json`` when this fails."""
    assert json.loads(PAGE.read_text()) == openapi_document()


def test_the_document_says_nothing_of_the_framework() -> None:
    text = json.dumps(openapi_document())
    assert "HTTPValidationError" not in text
    for operation in operations():
        assert operation["summary"]
        assert {"4XX", "5XX"} <= set(operation["responses"])


def operations() -> Iterator[dict[str, Any]]:
    """All of them."""
    for path in openapi_document()["paths"].values():
        yield from path.values()


class Served:
    """An API with a few effects behind it, in a thread with an event loop of its own."""

    def __init__(self) -> None:
        self.listener = listening("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    async def _serve(self) -> None:
        place = Place.of({"broker": "memory://schema", "journal": "memory://schema"})
        await some_effects(place)
        app = create_app(place, Tokens.read(f"machine:operate:{TOKEN}"))
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on")
        self._server = uvicorn.Server(config)
        self._ready.set()
        await self._server.serve(sockets=[self.listener])


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """One for all of them."""
    with Served() as made:
        yield made


DESCRIBED = schemathesis.openapi.from_dict(openapi_document()).exclude(path=list(LEFT_OUT))


@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@DESCRIBED.parametrize()
@settings(
    max_examples=1 if os.environ.get("CI") else 3,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_path_does_what_is_said(case: Case[Any], served: Served) -> None:
    """Whatever is sent: an answer of the described shape, and never a defect."""
    if isinstance(case.body, dict):
        # Nobody is there to answer, and a test need not wait for that.
        for waited in {"wait_s", "timeout_s"} & case.body.keys():
            case.body[waited] = 0.1
    case.call_and_validate(
        base_url=served.url,
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=30,
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            unsupported_method,
            ignored_auth,
        ],
    )
