"""Who may ask, from where, and what is refused before anything is done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from effectmq.api.access.sessions import COOKIE, LIFE_S, Sessions
from effectmq.api.access.tokens import Tokens, Who
from effectmq.api.serving import hosts_at, refuse_open
from effectmq.protocol.errors import ConfigurationError
from tests.front_door.api.stage import HERE, Stage, staged

READ = "a-token-that-may-look"
OPERATE = "a-token-that-may-change"
TOKENS = f"bob:read:{READ}, alice:operate:sha256={sha256(OPERATE.encode()).hexdigest()}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def guarded() -> AsyncIterator[Stage]:
    """An API that needs a token."""
    async with staged(Tokens.read(TOKENS)) as stage:
        yield stage


async def asked(stage: Stage, method: str, path: str, headers: Mapping[str, str]) -> httpx.Response:
    body = {"choice": {"all": True}, "dry_run": True} if method == "POST" else None
    return await stage.http.request(method, f"/api/v1{path}", headers=headers, json=body)


async def test_every_path_needs_a_token(guarded: Stage) -> None:
    """Also those that do not exist, and the description of all."""
    document = (await asked(guarded, "GET", "/openapi.json", bearer(READ))).json()
    assert document["security"] == [{"token": []}, {"session": []}]
    for path, methods in document["paths"].items():
        for method in methods:
            if path == "/api/v1/session":
                continue
            for headers in ({}, bearer("wrong"), {"Authorization": f"Basic {READ}"}):
                answer = await guarded.http.request(method, path, headers=headers, json={})
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"].startswith("Bearer")
    for path in ("/nothing", "/openapi.json"):
        assert (await asked(guarded, "GET", path, {})).status_code == 401


async def test_who_may_look_may_not_change(guarded: Stage) -> None:
    assert (await asked(guarded, "GET", "/me", bearer(READ))).json()["role"] == "read"
    me = (await asked(guarded, "GET", "/me", bearer(OPERATE))).json()
    assert (me["name"], me["role"]) == ("alice", "operate")
    document = (await asked(guarded, "GET", "/openapi.json", bearer(READ))).json()
    for path, methods in document["paths"].items():
        for method in set(methods) - {"get"}:
            if path != "/api/v1/session":
                answer = await guarded.http.request(method, path, headers=bearer(READ), json={})
                assert (answer.status_code, answer.json()["code"]) == (403, "read_only"), path
    done = await asked(guarded, "POST", "/dead-letters/purge", bearer(OPERATE))
    assert done.status_code != 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": HERE},
    ],
    ids=str,
)
async def test_pages_of_other_sites_are_refused(headers: Mapping[str, str]) -> None:
    """Where no token is needed, and with one: nothing is done, and nothing is told."""
    async with staged() as stage:
        for method, path in (("POST", "/dead-letters/purge"), ("GET", "/effects")):
            answer = await asked(stage, method, path, headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "other_site")
    async with staged(Tokens.read(TOKENS)) as stage:
        answer = await asked(stage, "POST", "/ping", {**headers, **bearer(OPERATE)})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("tokens", ["", TOKENS])
async def test_a_probe_needs_no_token_and_may_ask_by_any_address(tokens: str) -> None:
    """It hears that the server lives, and nothing of the installation; other paths are guarded."""
    async with staged(Tokens.read(tokens)) as stage:
        host = {"Host": "10.1.2.3:9480"}
        live = await stage.http.get("/live", headers=host)
        assert (live.status_code, live.text) == (200, "live\n")
        assert live.headers["cache-control"] == "no-store"
        assert (await stage.http.head("/live", headers=host)).status_code == 200
        for method, path in (("POST", "/live"), ("GET", "/live/"), ("GET", "//live")):
            other = await stage.http.request(method, f"{HERE}{path}", headers=host)
            assert other.status_code == 421, path
        assert (await stage.http.post("/live", headers=bearer(OPERATE))).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:9480", "", "[::2]:9480"])
async def test_other_names_of_this_machine_are_refused(host: str) -> None:
    """A name of somebody else may lead here."""
    async with staged() as stage:
        answer = await asked(stage, "GET", "/effects", {"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (421, "other_host")
        for own in ("127.0.0.1:9480", "LOCALHOST", "[::1]:9480"):
            assert (await asked(stage, "GET", "/me", {"Host": own})).status_code == 200


async def test_a_browser_changes_a_token_for_a_session(guarded: Stage) -> None:
    """The cookie is not for scripts and not for other sites, and ends when somebody signs out."""
    wrong = await guarded.post("/session", {"token": "nobody's"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "wrong_token")
    signed = await guarded.post("/session", {"token": OPERATE})
    cookie = signed.headers["set-cookie"]
    assert signed.status_code == 204
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert OPERATE not in cookie
    assert (await guarded.get("/me")).json()["name"] == "alice"
    no_origin = await guarded.post("/dead-letters/purge", {})
    assert (no_origin.status_code, no_origin.json()["code"]) == (403, "other_site")
    own = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}
    done = await guarded.http.post("/api/v1/dead-letters/purge", headers=own, json={})
    assert done.status_code == 422
    out = await guarded.http.delete("/api/v1/session", headers=own)
    assert out.status_code == 204
    guarded.http.cookies.set(COOKIE, cookie.partition("=")[2].partition(";")[0])
    assert (await guarded.get("/me")).status_code == 401


def test_sessions_end_by_themselves_and_are_bounded() -> None:
    now = 0.0
    sessions = Sessions(lambda: now)
    first = sessions.begin(Who("alice", "read"))
    assert sessions.who(first) == Who("alice", "read")
    for _ in range(1_500):
        last = sessions.begin(Who("bob", "read"))
    assert sessions.who(first) is None
    now = LIFE_S
    assert sessions.who(last) is None


async def test_bodies_are_bounded() -> None:
    """By what they say of themselves, and by what they are."""
    async with staged() as stage:
        large = b'{"tool":"' + b"x" * 3_000_000 + b'"}'

        async def pieces() -> AsyncIterator[bytes]:
            yield large

        for content in (large, pieces()):
            answer = await stage.http.post(
                "/api/v1/effects", content=content, headers={"Content-Type": "application/json"}
            )
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        deep = b"[" * 100_000
        for broken in (deep, b"{", b"\xff", b'"\\ud800"'):
            answer = await stage.http.post(
                "/api/v1/effects", content=broken, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code in (400, 422), broken[:10]
            assert answer.json()["code"] == "not_valid"
            assert answer.headers["content-type"] == "application/problem+json"


async def test_answers_say_how_a_browser_is_to_take_them(guarded: Stage) -> None:
    for headers in ({}, bearer(READ)):
        answer = await asked(guarded, "GET", "/me", headers)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert (await guarded.http.get("/docs")).status_code == 404


# Tokens -----------------------------------------------------------------------------------------


def test_tokens_are_read_from_a_setting_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# who may look\nbob:read:{READ}\n\n alice : operate : {OPERATE}\n")
    for text in (TOKENS, f"@{file}"):
        tokens = Tokens.read(text)
        assert tokens.who(READ) == Who("bob", "read")
        assert tokens.who(OPERATE) == Who("alice", "operate")
        assert tokens.who(READ[:-1]) is None
        assert tokens.who("") is None
    assert not Tokens.read("")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("just-a-secret-text", "has no name"),
        ("bob:admin:a-secret-text-of-bob", "has no role"),
        ("bob:read:short", "too short"),
        (":read:a-secret-text-of-bob", "has no name"),
        (f"bob:read:{READ},bob:read:{OPERATE}", "two tokens have the name"),
        ("@/nowhere/tokens", "cannot be read"),
        (",", "no token where tokens should be"),
    ],
)
def test_what_is_no_token_is_refused_without_telling_it(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        Tokens.read(text)
    assert "secret-text" not in str(refused.value)


def test_an_address_that_others_reach_needs_tokens() -> None:
    for address in ("0.0.0.0:1", ":1", "192.168.0.1:1", "[::]:1", "host.example:1"):
        with pytest.raises(ConfigurationError, match="no token is needed"):
            refuse_open(address, Tokens())
        refuse_open(address, Tokens.read(TOKENS))
        assert hosts_at(address) is None
    for address in ("127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "localhost:1"):
        refuse_open(address, Tokens())
        assert "evil.example" not in (hosts_at(address) or ())
    assert "ops.example" in (hosts_at("127.0.0.1:1", "ops.example") or ())
