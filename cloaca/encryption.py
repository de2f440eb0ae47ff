"""Encryption at rest: a codec that encrypts payloads with Fernet, of the ``cryptography`` package.

It knows keys and texts, and neither rows nor runs. A text is encrypted with the first key and begins with that key's
id, so that an older one is read with the key that it was written with. See https://github.com/fernet/spec.
"""

from __future__ import annotations

import hmac
import os
from base64 import urlsafe_b64decode
from binascii import Error as NoBase64
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cloaca.errors import CodecError, WrongKey

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

VARIABLE: Final = "CLOACA_ENCRYPTION_KEYS"
ID_LENGTH = 8


class Encryption:
    """Encrypts what runs hold: ``Runner(codec=Encryption(key))``. Needs the extra ``encryption``.

    Args:
        keys: as ``Encryption.generate_key()`` makes them, or ``cryptography``'s ``Fernet.generate_key()``. The first
            one encrypts; the others are for what was encrypted before, so that keys can be changed.
        hash_key: another such key, for the fingerprints by which equal inputs are found again; by default the last of
            ``keys``. Give it one of its own before the last key is taken away: with another one, cached results and
            inputs that a trigger has seen are not found again.

    Raises:
        CodecError: there is no key, or one is none, or ``cryptography`` is not installed.

    >>> codec = Encryption(Encryption.generate_key())
    >>> codec.decode(codec.encode("attack at dawn"))
    'attack at dawn'
    """

    def __init__(self, *keys: str | bytes, hash_key: str | bytes | None = None) -> None:
        if not keys:
            raise CodecError("Encryption(...) needs a key at least: make one with Encryption.generate_key()")
        made = [_key(key) for key in keys]
        self._ids = [_id(raw) for raw, _ in made]
        self._ciphers = {name: cipher for name, (_, cipher) in zip(self._ids, made, strict=True)}
        raw = made[-1][0] if hash_key is None else _key(hash_key)[0]
        self._hash_key = hmac.digest(raw, b"cloaca fingerprints", "sha256")

    def __repr__(self) -> str:
        return f"<Encryption with keys {', '.join(self._ids)}>"

    @staticmethod
    def generate_key() -> str:
        """Return a new key: 32 random bytes in URL-safe base64. Keep it where you keep passwords."""
        return _fernet().generate_key().decode()

    @classmethod
    def from_environment(cls) -> Encryption | None:
        """Return the codec that ``$CLOACA_ENCRYPTION_KEYS`` says, keys separated by commas; None if it is not set."""
        keys = [key.strip() for key in os.environ.get(VARIABLE, "").split(",")]
        return cls(*filter(None, keys)) if any(keys) else None

    def encode(self, text: str) -> str:
        """Return a text encrypted, in ASCII."""
        first = self._ids[0]
        return f"{first}:{self._ciphers[first].encrypt(text.encode('utf-8', 'surrogatepass')).decode()}"

    def decode(self, text: str) -> str:
        """Return what was encrypted. Raises WrongKey."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - an extra, which whoever has a key has loaded

        name, _, token = text.partition(":")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise WrongKey(
                f"a payload was encrypted with key {name[:ID_LENGTH]}, and this process has {', '.join(self._ids)}: "
                f"add that key behind the others, in Encryption(...) or ${VARIABLE}"
            )
        try:
            return cipher.decrypt(token.encode()).decode("utf-8", "surrogatepass")
        except InvalidToken:
            raise WrongKey(f"a payload of key {name} was changed or cut off: restore it from a backup") from None

    def digest(self, text: str) -> str:
        """Return a fingerprint: equal for equal texts, and of no use to whoever lacks the key. 64 characters."""
        return hmac.digest(self._hash_key, text.encode("utf-8", "surrogatepass"), "sha256").hex()


def _key(key: str | bytes) -> tuple[bytes, Fernet]:
    """Return a key's bytes and its cipher. What is wrong with a key is said without showing it."""
    text = key.encode() if isinstance(key, str) else key
    try:
        return urlsafe_b64decode(text), _fernet()(text)
    except (ValueError, TypeError, NoBase64):
        raise CodecError(
            "Encryption(...): a key is 32 bytes in URL-safe base64: make one with Encryption.generate_key()"
        ) from None


def _id(raw: bytes) -> str:
    return sha256(b"cloaca key " + raw).hexdigest()[:ID_LENGTH]


def _fernet() -> type[Fernet]:
    try:
        from cryptography.fernet import Fernet  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise CodecError("Encryption needs the cryptography package: pip install cloaca[encryption]") from None
    return Fernet
