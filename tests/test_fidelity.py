"""Of which values it is certain that they read back: never of one that does not, and of what plain models have."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from cloaca.codecs import JsonCodec
from cloaca.errors import PayloadError, UnstablePayload, WrongOutput
from cloaca.fidelity import is_certain


class Plain(BaseModel):
    """All that is plain."""

    whole: int
    part: float = 0.5
    yes: bool = False
    text: str = Field(default_factory=str)


class Colour(IntEnum):
    """An int that is none."""

    RED = 1


class Positive(BaseModel):
    """A constraint."""

    n: Annotated[int, Field(gt=0)]


class Doubled(BaseModel):
    """A validator that changes what it reads."""

    n: Annotated[int, AfterValidator(lambda n: n * 2)]


class Validated(BaseModel):
    """A validator of a field."""

    n: int

    @field_validator("n")
    @classmethod
    def halve(cls, n: int) -> int:
        """Change what is read."""
        return n // 2


class Replaced(BaseModel):
    """A validator of the whole."""

    n: int

    @model_validator(mode="after")
    def zero(self) -> Replaced:
        """Change what is read."""
        self.__dict__["n"] = 0
        return self


class Initialised(BaseModel):
    """Something that happens after reading."""

    n: int

    def model_post_init(self, context: Any) -> None:
        """Change what is read."""
        self.__dict__["n"] += 1


class Hidden(BaseModel):
    """A field that is not written."""

    n: int = Field(default=1, exclude=True)


class Rounded(BaseModel):
    """A serializer that changes what it writes."""

    n: Annotated[float, PlainSerializer(round)]


class Stripped(BaseModel):
    """A configuration that changes what is read."""

    model_config = ConfigDict(str_strip_whitespace=True)
    text: str


class Serialized(BaseModel):
    """A serializer of a field."""

    n: int

    @field_serializer("n")
    def negative(self, n: int) -> int:
        """Change what is written."""
        return -n


class Wrapped(BaseModel):
    """A serializer of the whole."""

    n: int

    @model_serializer
    def other(self) -> dict[str, int]:
        """Change what is written."""
        return {"n": self.n + 1}


class Computed(BaseModel):
    """A computed field."""

    n: int

    @computed_field  # type: ignore[prop-decorator]  # as pydantic has it
    @property
    def double(self) -> int:
        """Return what follows."""
        return self.n * 2


class Contrary(BaseModel):
    """One that is equal to nothing."""

    n: int

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]  # as Python does


class Open(BaseModel):
    """One that takes anything."""

    model_config = ConfigDict(extra="allow")
    n: int


class Rooted(RootModel[int]):
    """A root."""


class Rich(BaseModel):
    """A field that is not plain."""

    at: datetime | None = None
    cost: Decimal | None = None


def made(**values: Any) -> Plain:
    """Return what validation would refuse."""
    return Plain.model_construct(None, **values)


class Below(Plain):
    """A subclass."""

    more: int = 1


UNCERTAIN = [
    Positive(n=1),
    Doubled.model_construct(n=1),
    Validated.model_construct(n=1),
    Replaced.model_construct(n=1),
    Initialised.model_construct(n=1),
    Hidden(n=2),
    Rounded(n=0.5),
    Stripped.model_construct(text=" "),
    Serialized(n=1),
    Wrapped(n=1),
    Computed(n=1),
    Contrary(n=1),
    Open(n=1, more=1),  # type: ignore[call-arg]  # that is what it is for
    Rooted(1),
    Rich(),
    made(whole="1"),
    made(),
    Plain.model_construct(whole=True),
    Plain.model_construct(whole=Colour.RED),
    Plain(whole=2**63),
    Plain(whole=1, part=float("nan")),
    Plain(whole=1, part=float("inf")),
    Plain.model_construct(whole=1, part=1),
]


@pytest.mark.parametrize("value", UNCERTAIN, ids=lambda value: type(value).__name__)
def test_anything_but_plain_values_of_plain_models_is_uncertain(value: BaseModel) -> None:
    assert not is_certain(type(value), value)


@given(
    st.builds(
        Plain,
        whole=st.integers(-(2**63) + 1, 2**63 - 1),
        part=st.floats(allow_nan=False, allow_infinity=False),
        yes=st.booleans(),
        text=st.text(),
    )
)
def test_what_is_certain_reads_back(value: Plain) -> None:
    assert is_certain(Plain, value)
    back = JsonCodec().decode(Plain, JsonCodec().encode(Plain, value))
    assert back == value
    assert [type(item) for item in back.__dict__.values()] == [type(item) for item in value.__dict__.values()]


def test_a_subclass_is_uncertain() -> None:
    assert not is_certain(Plain, Below(whole=1))


def test_what_is_in_a_value_besides_its_fields_makes_it_uncertain() -> None:
    value = Plain(whole=1)
    value.__dict__["cached"] = 1
    assert not is_certain(Plain, value)


def test_a_rebuilt_model_is_looked_at_anew() -> None:
    class Later(BaseModel):
        n: int

    assert is_certain(Later, Later(n=1))
    Later.model_config["str_to_lower"] = True
    Later.model_rebuild(force=True)
    assert not is_certain(Later, Later(n=1))


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"], ids=["first", "last"])
def test_text_that_is_no_text_is_still_refused(text: str) -> None:
    with pytest.raises(UnstablePayload, match=r"Plain\.text can't be written as JSON"):
        JsonCodec().encode(Plain, Plain.model_construct(whole=1, text=text))


def test_a_wrong_type_is_still_refused() -> None:
    with pytest.raises((WrongOutput, PayloadError)):
        JsonCodec().encode(Plain, made(whole="one"))
