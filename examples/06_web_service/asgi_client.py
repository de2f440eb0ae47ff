"""A client that calls an ASGI application in this process, without a socket: for demonstrations and tests.

It sends one request at a time, and reads the whole answer. It knows HTTP's methods and JSON, and no application.
"""

import asyncio
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from starlette.types import ASGIApp, Message


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: Any


class Client:
    """Enters an application's lifespan, as a server does when it starts, and leaves it at the end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._life = asyncio.ensure_future(self._app(scope, self._to_app.get, self._from_app.put))
        await self._reach("startup")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reach("shutdown")
        await self._life

    async def _reach(self, stage: str) -> None:
        await self._to_app.put({"type": f"lifespan.{stage}"})
        answer = await self._from_app.get()
        if answer["type"] != f"lifespan.{stage}.complete":
            raise RuntimeError(answer.get("message", answer["type"]))

    async def get(self, url: str) -> Answer:
        return await self._request("GET", url, b"", {})

    async def post(self, url: str, body: object, **headers: str) -> Answer:
        return await self._request("POST", url, json.dumps(body).encode(), headers)

    async def _request(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        path, _, query = url.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "server": ("test", 80),
            "client": ("test", 0),
        }
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start = sent[0]
        text = b"".join(message.get("body", b"") for message in sent[1:])
        received = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], received, json.loads(text))
