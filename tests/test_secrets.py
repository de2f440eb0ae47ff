"""A secret is a name: nothing that is made of it, or written about it, has the value."""

from __future__ import annotations

import copy
import json
import pickle
from base64 import b64encode
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from cloaca import AsyncSecrets, Secret, UnknownSecret, task
from cloaca.algebra.models import model_problems
from cloaca.codecs import JsonCodec
from cloaca.secrets import MOST_REMEMBERED, masked, remember
from cloaca.testing import given_secrets

T = TypeVar("T")
VALUE = "canary/5f1e+c0ffee"


class Box(BaseModel, Generic[T]):
    """A generic model."""

    inside: T


class Mailer(BaseModel):
    """Secrets wherever a field may have one."""

    token: Secret
    other: Secret | None = None
    named: Annotated[Secret, Field(description="of the server")] = Secret("SMTP_PASSWORD")
    many: list[Secret] = []
    by_host: dict[str, Secret] = {}
    boxed: Box[Secret] | None = None


def mailer() -> Mailer:
    return Mailer(
        token=Secret("MAIL_TOKEN"),
        many=[Secret("A"), Secret("B")],
        by_host={"mx": Secret("C")},
        boxed=Box[Secret](inside=Secret("D")),
    )


def test_it_goes_through_json_as_its_name() -> None:
    codec = JsonCodec()
    payload = codec.encode(Mailer, mailer())
    assert json.loads(payload)["token"] == "MAIL_TOKEN"
    assert codec.decode(Mailer, payload) == mailer()
    assert Mailer.model_json_schema()["properties"]["token"]["format"] == "cloaca-secret"


def test_the_contract_takes_it() -> None:
    @task
    def send(mailer: Mailer) -> None: ...

    assert send.name == "send"
    assert list(model_problems(Mailer)) == []


def test_nothing_that_is_made_of_it_has_the_value() -> None:
    with given_secrets({"MAIL_TOKEN": VALUE}):
        secret = Secret("MAIL_TOKEN")
        assert secret.reveal() == VALUE
        shown = [repr(secret), str(secret), f"{secret}", repr(Mailer(token=secret)), str(pickle.dumps(secret))]
        assert not any(VALUE in text for text in shown)
    assert pickle.loads(pickle.dumps(secret)) == copy.deepcopy(secret) == secret
    assert {secret: 1}[Secret("MAIL_TOKEN")] == 1
    assert secret != Secret("OTHER")
    assert secret != "MAIL_TOKEN"


def test_a_value_that_is_taken_for_a_name_is_not_shown() -> None:
    with pytest.raises(ValueError, match="never its value") as caught:
        Secret("hunter2 is the password")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ValidationError, match="instance of Secret"):
        Mailer(token="MAIL_TOKEN")  # type: ignore[arg-type]  # that is the point: it might be the value


def test_it_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_TOKEN", VALUE)
    assert Secret("MAIL_TOKEN").reveal() == VALUE


def test_an_unknown_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAIL_TOKEN", raising=False)
    with pytest.raises(UnknownSecret, match='secret "MAIL_TOKEN" is unknown: no environment variable'):
        Secret("MAIL_TOKEN").reveal()
    with given_secrets({}), pytest.raises(UnknownSecret, match="add it there"):
        Secret("MAIL_TOKEN").reveal()
    with given_secrets(dict[str, str]().__getitem__), pytest.raises(UnknownSecret):
        Secret("MAIL_TOKEN").reveal()


def test_what_gives_no_text_is_refused() -> None:
    odd: Any = {"MAIL_TOKEN": 7}
    with given_secrets(odd), pytest.raises(UnknownSecret, match="gave a int"):
        Secret("MAIL_TOKEN").reveal()
    odd = 7
    with pytest.raises(TypeError, match="a mapping of names to values, or a function"), given_secrets(odd):
        pass


def test_an_async_provider_has_to_be_awaited() -> None:
    async def vault(name: str) -> str:
        return VALUE

    with given_secrets(vault), pytest.raises(AsyncSecrets, match="reveal_async"):
        Secret("MAIL_TOKEN").reveal()


def is_no_part_of_a_mask(text: str) -> bool:
    return "*" not in text and not text.isupper()


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=80).filter(is_no_part_of_a_mask))
def test_what_was_revealed_is_masked_as_texts_write_it(value: str) -> None:
    remember("PROPERTY", value)
    for written in (
        value, repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False), quote(value, safe=""),
        b64encode(value.encode()).decode(), f"x{value}y{value}", str(ValueError(value)), repr(ValueError(value)),
    ):  # fmt: skip
        assert value not in masked(written)
        assert "***" in masked(written)


def test_what_pydantic_leaves_of_a_long_value_is_masked() -> None:
    value = "".join(chr(ord("a") + i % 26) for i in range(90))
    remember("LONG", value)
    with pytest.raises(ValidationError) as caught:
        Box[int].model_validate({"inside": value})
    assert value[:20] not in masked(str(caught.value))
    assert value[-20:] not in masked(str(caught.value))


def test_the_lines_of_a_key_are_masked() -> None:
    remember("PEM", "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----")
    assert masked("read MIIEvQIBADANBg, then kqhkiG9w0BAQEF") == "read ***PEM***, then ***PEM***"


def test_a_short_value_is_not_masked() -> None:
    remember("PIN", "12")
    assert masked("12 o'clock") == "12 o'clock"


def test_the_latest_values_are_remembered() -> None:
    for number in range(MOST_REMEMBERED + 1):
        remember("TOKEN", f"rotating-{number:06}")
    assert masked("rotating-000000") == "rotating-000000"
    assert masked(f"rotating-{MOST_REMEMBERED:06}") == "***TOKEN***"
