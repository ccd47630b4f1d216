"""
The table of models: which model of which provider answers under which name.

A table is plain data, from a TOML file or a dict. It holds no API keys, only the *name* of the
variable that holds one; the caller that builds the handlers passes the variables in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from tenacity import stop_after_attempt, stop_before_delay, wait_random_exponential

from effectmq.broker.store.spend.prices import Price
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.llm.script import ScriptRule
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = ["DEFAULT_KEY_VARIABLES", "Effort", "ModelSettings", "ProviderName", "read_models"]

ProviderName = Literal[
    "openai", "openai-chat", "openai-compatible", "anthropic", "google", "scripted"
]

Effort = Literal["off", "minimal", "low", "medium", "high", "xhigh", "max"]

#: The variable of each provider's key when the table names none. A compatible server has none: it
#: may need no key, and must not be given the key of another provider.
DEFAULT_KEY_VARIABLES: dict[str, str] = {
    "openai": "OPENAI_API_KEY",
    "openai-chat": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "google": "GOOGLE_API_KEY",
}

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """
    One model, as a row of the table.

    Attributes:
        provider: ``openai`` (Responses API), ``openai-chat`` (Chat Completions),
            ``openai-compatible`` (any server that speaks Chat Completions; needs ``base_url``),
            ``anthropic``, ``google`` (Gemini API) or ``scripted`` (offline).
        model: The provider's own name of the model; the name of the row by default.
        base_url: Where to send requests instead of the provider's public address.
        api_key_env: The name of the variable that holds the key, never the key itself.
        output_token_capacity: The most tokens the model can write; a request that caps its answer
            above it is refused without asking the provider. Unknown when ``None``.
        time_limit_s: How long one attempt may take as a whole, streaming included.
        stream: Whether the server can stream.
        attempts: How many times to ask before a retryable failure is the outcome.
        retry_for_s: How long after the effect was first seen an attempt may begin, in seconds.
        longest_wait_s: The longest wait between two attempts when the provider asks for none, in
            seconds.
        variants: The reasoning effort that a ``model_variant`` of a request stands for. The names
            of the efforts themselves need not be listed.
        script: The rules of a scripted model; the first that fits is used.
        price: What it costs, in US dollars for a million tokens; the list price when ``None``.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=False)

    provider: ProviderName
    model: _Text | None = None
    base_url: _Text | None = None
    api_key_env: _Text | None = None
    output_token_capacity: Annotated[int, Field(ge=1)] | None = None
    time_limit_s: _Seconds = 600.0
    stream: bool = True
    attempts: Annotated[int, Field(ge=1)] = 5
    retry_for_s: _Seconds = 3_600.0
    longest_wait_s: _Seconds = 300.0
    variants: Mapping[str, Effort] = field(default_factory=dict[str, Effort])
    script: tuple[ScriptRule, ...] = ()
    price: Price | None = None

    def __post_init__(self) -> None:
        if self.provider == "openai-compatible" and self.base_url is None:
            raise ValueError(
                "an openai-compatible model has no base_url; give it the address of its server"
            )
        if self.provider != "scripted" and self.script:
            raise ValueError(
                "only a scripted model may have a script; remove it, or set provider to scripted"
            )

    @property
    def key_variable(self) -> str | None:
        """The name of the variable that holds the key; ``None`` when no key is sent."""
        return self.api_key_env or DEFAULT_KEY_VARIABLES.get(self.provider)

    @property
    def retry(self) -> RetryPolicy:
        """
        The retry policy that these settings make.

        A wait that would end after ``retry_for_s`` does not begin, so that the caller is told at
        once.
        """
        return RetryPolicy(
            stop=stop_after_attempt(self.attempts) | stop_before_delay(self.retry_for_s),
            wait=wait_random_exponential(multiplier=1, max=self.longest_wait_s),
        )


_TABLE: TypeAdapter[dict[str, ModelSettings]] = TypeAdapter(dict[str, ModelSettings])


def read_models(table: Mapping[str, Any]) -> dict[str, ModelSettings]:
    """
    Read a table of models: names as envelopes use them, and a row for each.

    Args:
        table: For instance the ``models`` table of a TOML file.

    Raises:
        ConfigurationError: When a row cannot be used; names the row and the setting.
    """
    try:
        return _TABLE.validate_python(dict(table))
    except ValidationError as error:
        problems = [
            f"{'.'.join(['models', *map(str, problem['loc'])])}: {_sentence(problem)}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigurationError("; ".join(problems)) from None


def _sentence(problem: Any) -> str:
    if problem["type"] == "unexpected_keyword_argument":
        known = ", ".join(ModelSettings.__dataclass_fields__)
        return f"there is no such setting; expected one of {known}"
    return printable(str(problem["msg"]).removeprefix("Value error, "), 300)
