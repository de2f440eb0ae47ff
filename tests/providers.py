"""Take OpenTelemetry's providers away again: its API lets a program set each once."""

from __future__ import annotations

import sys
from typing import Any


def forget_providers() -> None:
    """Let the next test of this process begin as a program that has set none. Nothing is loaded."""
    for module, name in (
        ("opentelemetry.trace", "_TRACER_PROVIDER"),
        ("opentelemetry.metrics._internal", "_METER_PROVIDER"),
    ):
        api: Any = sys.modules.get(module)
        if api is not None:
            setattr(api, name, None)
            setattr(api, f"{name}_SET_ONCE", type(getattr(api, f"{name}_SET_ONCE"))())
    internal: Any = sys.modules.get("opentelemetry.metrics._internal")
    if internal is not None:  # it remembers the instruments that were made before there was a provider
        internal._PROXY_METER_PROVIDER = type(internal._PROXY_METER_PROVIDER)()
    ours: Any = sys.modules.get("cloaca.telemetry")
    if ours is not None:
        ours._one.cache_clear()  # it has a tracer of the provider that is gone
