"""A process that works and writes its spans to a file, one JSON object each, as they end."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from cloaca import Runner
from tests.crashes.programs import WORKFLOWS, Job, chain


class FileExporter(SpanExporter):
    """Appends each span with a single call, so that a kill leaves whole lines."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            assert span.context is not None
            line = {
                "name": span.name,
                "trace": span.context.trace_id,
                "span": span.context.span_id,
                "parent": span.parent and span.parent.span_id,
                "attributes": dict(span.attributes or {}),
                "pid": os.getpid(),
            }
            file = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.write(file, json.dumps(line).encode() + b"\n")
            os.close(file)
        return SpanExportResult.SUCCESS


def trace_to(folder: Path) -> None:
    """Have the spans of this process written."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(FileExporter(folder / "spans")))
    trace.set_tracer_provider(provider)


def start(database: Path, folder: Path) -> None:
    """Start a run, in a span of its own, and leave it to others."""

    async def begin() -> None:
        async with Runner(database, workflows=WORKFLOWS, work=False) as runner:
            with trace.get_tracer("shop").start_as_current_span("request"):
                await runner.start(chain, Job(folder=str(folder), number=7))

    trace_to(folder)
    asyncio.run(begin())


def work(database: Path, folder: Path) -> None:
    """Work until killed."""

    async def serve() -> None:
        async with Runner(database, workflows=WORKFLOWS):
            await asyncio.Event().wait()

    trace_to(folder)
    asyncio.run(serve())
