"""The codec: what was encrypted is read with the key that it was written with, and with no other."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from cloaca import CodecError, WrongKey
from cloaca.encryption import Encryption

OLD, NEW = Encryption.generate_key(), Fernet.generate_key()


@given(st.text())
def test_a_text_comes_back(text: str) -> None:
    codec = Encryption(OLD)
    assert codec.decode(codec.encode(text)) == text


def test_no_text_is_encrypted_twice_alike() -> None:
    codec = Encryption(OLD)
    assert codec.encode("same") != codec.encode("same")
    assert "same" not in codec.encode("same")


def test_keys_are_changed_by_putting_a_new_one_first() -> None:
    old, both, new = Encryption(OLD), Encryption(NEW, OLD), Encryption(NEW)
    assert both.decode(old.encode("x")) == "x"
    assert new.decode(both.encode("x")) == "x"
    with pytest.raises(WrongKey, match="add that key behind the others"):
        new.decode(old.encode("x"))


def test_what_was_changed_is_not_read() -> None:
    codec = Encryption(OLD)
    stored = codec.encode("pay 5")
    for changed in (stored[:-4], stored[:-6] + "AAAAA=", stored.replace(":", ":A"), ""):
        with pytest.raises(WrongKey):
            codec.decode(changed)


def test_a_fingerprint_needs_the_key_and_outlives_a_new_one() -> None:
    assert Encryption(OLD).digest("x") == Encryption(NEW, OLD).digest("x") == Encryption(NEW, hash_key=OLD).digest("x")
    assert Encryption(OLD).digest("x") != Encryption(NEW).digest("x")
    assert Encryption(OLD).digest("x") != Encryption(OLD).digest("y")
    assert len(Encryption(OLD).digest("x")) == 64


def test_a_key_that_is_none_is_refused_without_being_shown() -> None:
    with pytest.raises(CodecError, match="32 bytes in URL-safe base64") as caught:
        Encryption("correct horse battery staple")
    assert "horse" not in str(caught.value)
    with pytest.raises(CodecError, match="needs a key"):
        Encryption()
    assert OLD not in repr(Encryption(OLD))


def test_the_environment_may_say_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOACA_ENCRYPTION_KEYS", raising=False)
    assert Encryption.from_environment() is None
    monkeypatch.setenv("CLOACA_ENCRYPTION_KEYS", f"{NEW.decode()}, {OLD}")
    codec = Encryption.from_environment()
    assert codec is not None
    assert codec.decode(Encryption(OLD).encode("x")) == "x"
