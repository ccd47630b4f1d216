"""
The SDK of OpenTelemetry with an exporter that sends nothing: what an SDK's own exporter costs is
not ours. In a module of its own: once imported, the SDK makes each collection of garbage longer.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import set_tracer_provider

__all__: list[str] = []


class _Nowhere(SpanExporter):
    """An exporter that forgets them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Forget them."""
        return SpanExportResult.SUCCESS


_provider = TracerProvider()
_provider.add_span_processor(BatchSpanProcessor(_Nowhere()))
set_tracer_provider(_provider)
