"""Secrets by name: a model holds a name, a body reveals the value, and whatever was revealed is masked in texts.

It knows where values come from, and which have been revealed in this process; it knows no runs, rows or logs. A value
is never part of a ``Secret``: so no payload, pickle or repr can hold it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from base64 import b64encode
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any, TypeAlias, cast
from urllib.parse import quote, quote_plus

from cloaca.current import ATTEMPT
from cloaca.errors import AsyncSecrets, UnknownSecret

Provider: TypeAlias = Mapping[str, str] | Callable[[str], str | None] | Callable[[str], Awaitable[str | None]]
FORMAT = "cloaca-secret"  # of the JSON schema's string
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/@-]{0,199}")
MOST_REMEMBERED = 200  # values that are masked, the latest
SHORTEST_MASKED = 4  # characters: to mask less would garble every text, and tell the value by that
SHORTEST_LINE = 8  # of a value of several lines, each of which is masked
LONG, PART = 40, 20  # of a long value its first and last characters alone: pydantic's messages leave out the middle


_PROVIDED: ContextVar[Provider | None] = ContextVar("cloaca_secrets", default=None)


class Secret:
    """The name of a secret: what a model holds, and what is stored, shown and sent in its place.

    A body asks for the value with ``reveal()``. It comes from ``Runner(secrets=...)``, by default from the environment
    variable of this name. Names have letters, digits and ``_ . : / @ -``, at most 200. In JSON a secret is its name.

    >>> from pydantic import BaseModel
    >>> class Mailer(BaseModel):
    ...     token: Secret
    >>> Mailer(token=Secret("MAIL_TOKEN")).model_dump_json()
    '{"token":"MAIL_TOKEN"}'
    >>> with given_secrets({"MAIL_TOKEN": "s3cret-value"}):
    ...     Secret("MAIL_TOKEN").reveal()
    's3cret-value'
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            # What was given is not shown: it may be the secret itself.
            raise ValueError(
                "Secret(name): a name has letters, digits and _ . : / @ -, begins with a letter or _, and has at most "
                "200 characters; give the secret's name, never its value"
            )
        self._name = name

    @property
    def name(self) -> str:
        """The secret's name."""
        return self._name

    def reveal(self) -> str:
        """Return the value. Don't store it: return the ``Secret``, or what came of using it.

        Raises:
            UnknownSecret: there is none of this name. Like every exception of a body it is retried as ``retry`` says.
            AsyncSecrets: this is an async body, and ``Runner(secrets=...)`` an async function: use
                ``await secret.reveal_async()``. A body on a thread waits for it.
        """
        found = _found(self._name)
        if isawaitable(found):
            return self._waited(found)
        return _kept(self._name, found)

    def _waited(self, found: Awaitable[str | None]) -> str:
        """Wait on this thread for what the runner's event loop finds."""
        attempt, coroutine = ATTEMPT.get(), _revealed(self._name, found)
        if attempt is None or attempt.place.loop is None or _on_a_loop():
            coroutine.close()
            if isinstance(found, Coroutine):
                found.close()  # so that Python does not warn that nobody awaited it
            raise AsyncSecrets(
                f'secret "{self._name}": Runner(secrets=...) is an async function; use `await secret.reveal_async()`'
            )
        value = asyncio.run_coroutine_threadsafe(coroutine, attempt.place.loop).result()
        return _kept(self._name, value)

    async def reveal_async(self) -> str:
        """Return the value, from an async function too. Raises UnknownSecret."""
        found = _found(self._name)
        return await _revealed(self._name, found) if isawaitable(found) else _kept(self._name, found)

    def __repr__(self) -> str:
        return f"Secret({self._name!r})"

    def __eq__(self, other: object) -> bool:
        return self._name == other._name if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._name))

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self._name,)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415 - building a model has loaded it

        named = core_schema.no_info_after_validator_function(cls, core_schema.str_schema(strict=True))
        return core_schema.json_or_python_schema(
            json_schema=named,
            # In Python the type has to be said: a plain string might be the value.
            python_schema=core_schema.is_instance_schema(cls),
            serialization=core_schema.plain_serializer_function_ser_schema(
                _name_of, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "format": FORMAT, "pattern": f"^{NAME.pattern}$"}


async def _revealed(name: str, found: Awaitable[str | None]) -> str:
    try:
        return _kept(name, await found)
    except LookupError:
        raise _unknown(name) from None


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _name_of(secret: Secret) -> str:
    return secret.name


@contextmanager
def given_secrets(provider: Provider) -> Iterator[None]:
    """Let secrets come from ``provider``, for tests: a mapping of names to values, or a function of a name.

    It holds for what is called inside, simulations and unit tests of bodies alike, but not where a ``Runner`` has
    ``secrets=`` of its own.

    >>> with given_secrets({"MAIL_TOKEN": "s3cret-value"}):
    ...     Secret("MAIL_TOKEN").reveal()
    's3cret-value'
    """
    check_provider(provider)
    token = _PROVIDED.set(provider)
    try:
        yield
    finally:
        _PROVIDED.reset(token)


def check_provider(provider: object) -> None:
    """Raise TypeError unless secrets can come from ``provider``."""
    if not isinstance(provider, Mapping) and not callable(provider):
        raise TypeError(
            f"secrets= takes a mapping of names to values, or a function of a name, but was given a "
            f"{type(provider).__name__}"
        )


def _provider() -> Provider | None:
    """Return the runner's provider, else a test's; None for the environment."""
    attempt = ATTEMPT.get()
    given = None if attempt is None else attempt.place.secrets
    return _PROVIDED.get() if given is None else cast("Provider", given)


def _found(name: str) -> str | Awaitable[str | None] | None:
    """Ask for a value."""
    provider = _provider()
    try:
        if provider is None:
            return os.environ.get(name)
        if isinstance(provider, Mapping):
            return provider.get(name)
        return cast("Callable[[str], str | Awaitable[str | None] | None]", provider)(name)
    except LookupError:
        raise _unknown(name) from None


def _kept(name: str, value: object) -> str:
    """Remember what was revealed, so that it can be masked."""
    if value is None:
        raise _unknown(name)
    if not isinstance(value, str):
        raise UnknownSecret(f'secret "{name}": Runner(secrets=...) gave a {type(value).__name__}, but a str is wanted')
    remember(name, value)
    if (attempt := ATTEMPT.get()) is not None:
        attempt.revealed = {**(attempt.revealed or {}), name: value}
    return value


def _unknown(name: str) -> UnknownSecret:
    provider = _provider()
    if isinstance(provider, Sent):
        text = "this child process's environment has no such variable, and no input of the task names it: pass it in "
        text += "a field of the task's model"
    elif provider is None:
        text = "no environment variable has this name; set it where this worker runs, or give Runner(secrets=...)"
    else:
        text = "Runner(secrets=...) has none of this name; add it there, or mend the name"
    return UnknownSecret(f'secret "{name}" is unknown: {text}')


class Sent(dict[str, str]):
    """The secrets that a parent process has sent with a task; others come from the environment."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or the default."""
        return self[name] if name in self else os.environ.get(name, default)


# Masking

_lock = threading.Lock()
_remembered: dict[str, str] = {}  # names by value
_forms: tuple[tuple[str, str], ...] = ()  # what is replaced by what, the longest first


def remember(name: str, value: str) -> None:
    """Mask ``value`` from now on, as ``***name***``."""
    global _forms  # noqa: PLW0603 - one for the process, as its logs and tracebacks are
    if _remembered.get(value) == name or len(value) < SHORTEST_MASKED:
        return
    with _lock:
        _remembered.pop(value, None)
        _remembered[value] = name
        while len(_remembered) > MOST_REMEMBERED:
            del _remembered[next(iter(_remembered))]
        forms = {form: f"***{name}***" for value, name in _remembered.items() for form in _written(value)}
        _forms = tuple(sorted(forms.items(), key=lambda form: -len(form[0])))


def _written(value: str) -> Iterator[str]:
    """Yield how texts write a value: plain, as Python and JSON quote it, in a URL, in base64, its lines, its ends."""
    yield value
    yield repr(value)[1:-1]
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value, safe="", errors="replace")
    yield quote_plus(value, errors="replace")
    yield b64encode(value.encode("utf-8", "surrogatepass")).decode()
    yield from (line for line in value.splitlines() if len(line) >= SHORTEST_LINE)
    if len(value) >= LONG:
        yield value[:PART]
        yield value[-PART:]


def masked(text: str) -> str:
    """Return a text in which every value that was revealed in this process is ``***NAME***``.

    It sees a value as it is, quoted as Python and JSON do, in a URL and in base64, but no other transformation.

    >>> remember("MAIL_TOKEN", "tok-5f1e")
    >>> masked("401 for tok-5f1e")
    '401 for ***MAIL_TOKEN***'
    """
    for form, name in _forms:
        if form in text:
            text = text.replace(form, name)
    return text


def exposed(text: str) -> str | None:
    """Return the name of a secret that the current attempt has revealed and whose value is in ``text``, or None.

    Values of less than eight characters are not looked for: they may be there by chance.
    """
    attempt = ATTEMPT.get()
    if attempt is None or not attempt.revealed:
        return None
    for name, value in attempt.revealed.items():
        if len(value) >= SHORTEST_LINE and (value in text or json.dumps(value, ensure_ascii=False)[1:-1] in text):
            return name
    return None
