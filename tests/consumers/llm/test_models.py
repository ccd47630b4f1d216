"""The settings table: plain data in, rows out, and sentences when it cannot be used."""

from __future__ import annotations

import sys
import tomllib
from typing import Any

import pytest

from effectmq.consumers.decisions.retry import retry_wait_ms
from effectmq.consumers.llm.models import ModelSettings, read_models
from effectmq.consumers.llm.providers import open_provider
from effectmq.consumers.llm.script import ScriptCall, ScriptFailure, ScriptRule
from effectmq.protocol.errors import ConfigurationError, MissingExtraError, RetryEffectError

TABLE = """
[models.fast]
provider = "openai"
model = "gpt-5-mini"
output_token_capacity = 16384

[models.local]
provider = "openai-compatible"
base_url = "http://127.0.0.1:8000/v1"
time_limit_s = 30
stream = false
attempts = 2
variants = { deep = "high" }

[models.demo]
provider = "scripted"

[[models.demo.script]]
when = "weather in (?P<town>\\\\w+)"
reply = "Let me look at $town."
calls = [{ tool = "weather", arguments = { town = "$town" } }]
failure = { times = 2, after_s = 0.5 }
"""


def test_a_table_is_plain_data_as_a_toml_file_has_it() -> None:
    """Every kind of setting, and the defaults of the rest."""
    models = read_models(tomllib.loads(TABLE)["models"])
    assert models["fast"] == ModelSettings(
        provider="openai", model="gpt-5-mini", output_token_capacity=16_384
    )
    local = models["local"]
    assert (local.time_limit_s, local.stream, local.attempts) == (30, False, 2)
    assert local.variants == {"deep": "high"}
    assert models["demo"].script == (
        ScriptRule(
            when=r"weather in (?P<town>\w+)",
            reply="Let me look at $town.",
            calls=(ScriptCall(tool="weather", arguments={"town": "$town"}),),
            failure=ScriptFailure(times=2, after_s=0.5),
        ),
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "models.m.provider: "),
        ({"provider": "opnai"}, "models.m.provider: Input should be 'openai'"),
        ({"provider": "openai", "key": "x"}, "models.m.key: there is no such setting; expected"),
        ({"provider": "openai", "attempts": 0}, "models.m.attempts: "),
        ({"provider": "openai", "output_token_capacity": 0}, "models.m.output_token_capacity"),
        ({"provider": "openai", "time_limit_s": 0}, "models.m.time_limit_s: "),
        ({"provider": "openai", "variants": {"x": "very"}}, "models.m.variants.x: "),
        ({"provider": "openai-compatible"}, "has no base_url"),
        ({"provider": "openai", "script": [{}]}, "only a scripted model may have a script"),
        ({"provider": "scripted", "script": [{"when": "("}]}, "is no regular expression"),
        ({"provider": "scripted", "script": [{"say": "hi"}]}, "models.m.script.0.say"),
        ("openai", "models.m: "),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_what_is_wrong(row: Any, words: str) -> None:
    """The row, the setting, and what was expected."""
    with pytest.raises(ConfigurationError) as refused:
        read_models({"m": row})
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("provider", "more", "variable"),
    [
        ("openai", {}, "OPENAI_API_KEY"),
        ("openai-chat", {}, "OPENAI_API_KEY"),
        ("anthropic", {}, "ANTHROPIC_API_KEY"),
        ("google", {}, "GOOGLE_API_KEY"),
        ("google", {"api_key_env": "MINE"}, "MINE"),
        ("openai-compatible", {"base_url": "http://x"}, None),
        ("openai-compatible", {"base_url": "http://x", "api_key_env": "MINE"}, "MINE"),
        ("scripted", {}, None),
    ],
)
def test_each_provider_has_its_variable_and_a_row_may_name_another(
    provider: Any, more: dict[str, Any], variable: str | None
) -> None:
    """A compatible server is never given the key of somebody else."""
    assert ModelSettings(provider=provider, **more).key_variable == variable


@pytest.mark.parametrize("found", [{}, {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": "  "}])
def test_a_missing_key_is_said_when_the_model_is_made(found: dict[str, str]) -> None:
    """Which model, which variable, and how to choose another."""
    with pytest.raises(ConfigurationError, match=r"'fast'.*OPENAI_API_KEY is not set.*api_key_env"):
        open_provider("fast", ModelSettings(provider="openai"), found)


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown() -> None:
    """Usually a file with two lines in it."""
    with pytest.raises(ConfigurationError) as refused:
        open_provider("fast", ModelSettings(provider="openai"), {"OPENAI_API_KEY": "sk-a\nsk-b"})
    assert "OPENAI_API_KEY" in str(refused.value)
    assert "sk-a" not in str(refused.value)


def test_a_missing_library_is_said_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the name of the row."""
    monkeypatch.setitem(sys.modules, "effectmq.consumers.llm.hosted.adapter", None)
    with pytest.raises(MissingExtraError, match=r"'fast' \(openai\).*effectmq\[llm\]"):
        open_provider("fast", ModelSettings(provider="openai"), {"OPENAI_API_KEY": "x"})


@pytest.mark.parametrize(
    ("attempt", "elapsed_ms", "after_s", "expected"),
    [
        (1, 0, 2.0, 2_000),
        (2, 5_000, 2.0, 2_000),
        (3, 5_000, 2.0, None),
        (1, 9_500, 2.0, None),
        (1, 0, 3_600.0, None),
    ],
)
def test_the_policy_counts_attempts_and_begins_no_wait_beyond_its_time(
    attempt: int, elapsed_ms: int, after_s: float, expected: int | None
) -> None:
    """A provider that asks for an hour gets its outcome at once when there are ten seconds."""
    policy = ModelSettings(provider="scripted", attempts=3, retry_for_s=10).retry
    error = RetryEffectError("busy", after_s=after_s)
    assert retry_wait_ms(policy, error, attempt=attempt, elapsed_ms=elapsed_ms) == expected
