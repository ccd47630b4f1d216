"""
Traces for OpenTelemetry: a span for each publish, delivery and attempt; see docs/traces.md.

Needs the extra ``otel``; the SDK is configured by the program.
"""

from __future__ import annotations

from effectmq.monitoring.traces.spans import Traces

__all__ = ["Traces"]
