"""
The clients of the providers. They always get a key and an address.

Without these, the providers' libraries would look for both in variables of their own, and a worker
must use its table only. The retries of the libraries are off: the pipeline does the waiting.
"""

from __future__ import annotations

import httpx2
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings as ClientSettings

from effectmq.consumers.llm.models import ModelSettings

__all__ = ["make_client"]

_OPENAI_URL = "https://api.openai.com/v1"
_ANTHROPIC_URL = "https://api.anthropic.com"
_GOOGLE_URL = "https://generativelanguage.googleapis.com/"

_ONE_TRY = ClientSettings(max_retries=0)


def make_client(
    model_name: str, settings: ModelSettings, key: str | None, http: httpx2.AsyncClient
) -> Model:
    """
    Make the client of a model. Each library is imported only when a model of its kind is made.

    Args:
        model_name: The provider's name of the model.
        settings: The row of the table.
        key: The API key, when one is sent.
        http: Sends its requests; its maker closes it.

    Raises:
        ImportError: When the library of the provider is not installed.
    """
    match settings.provider:
        case "anthropic":
            return _anthropic(model_name, settings.base_url, key, http)
        case "google":
            return _google(model_name, settings.base_url, key, http)
        case "openai-compatible":
            return _compatible(model_name, settings.base_url or "", key, http)
        case _:
            return _openai(model_name, settings, key, http)


def _openai(
    model_name: str, settings: ModelSettings, key: str | None, http: httpx2.AsyncClient
) -> Model:
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.profiles.openai import OpenAIModelProfile
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(
        base_url=settings.base_url or _OPENAI_URL, api_key=key, http_client=http
    )
    if settings.provider == "openai":
        return OpenAIResponsesModel(model_name, provider=provider, settings=_ONE_TRY)
    profile = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
    return OpenAIChatModel(model_name, provider=provider, profile=profile, settings=_ONE_TRY)


def _compatible(model_name: str, base_url: str, key: str | None, http: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.profiles.openai import OpenAIModelProfile
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    provider = OpenAICompatibleProvider(
        "openai-compatible", base_url=base_url, api_key=key, http_client=http
    )
    # A stream without a reason at its end was cut off: half an answer must not count as a whole
    # one.
    profile = OpenAIModelProfile(
        openai_chat_streaming_requires_finish_reason=True,
        # Every such server knows the older name of the cap. A server that ignores the newer name
        # would write without a limit.
        openai_chat_supports_max_completion_tokens=False,
    )
    return OpenAIChatModel(model_name, provider=provider, profile=profile, settings=_ONE_TRY)


def _anthropic(
    model_name: str, base_url: str | None, key: str | None, http: httpx2.AsyncClient
) -> Model:
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    provider = AnthropicProvider(base_url=base_url or _ANTHROPIC_URL, api_key=key, http_client=http)
    return AnthropicModel(model_name, provider=provider, settings=_ONE_TRY)


def _google(
    model_name: str, base_url: str | None, key: str | None, http: httpx2.AsyncClient
) -> Model:
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    provider = GoogleProvider(base_url=base_url or _GOOGLE_URL, api_key=key, http_client=http)
    return GoogleModel(model_name, provider=provider, settings=_ONE_TRY)
