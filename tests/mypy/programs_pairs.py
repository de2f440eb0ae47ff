"""One module for thousands of pairs of types: a task writes ``x: A``, the next reads ``x: B``.

The types are those that the run-time check is compared with mypy's on; here they go through a model's field, a task and
a workflow on both sides, and their texts through a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

from pydantic import ConfigDict, create_model
from pydantic.errors import PydanticUserError

from cloaca.algebra.models import model_problems
from tests.contract.test_annotations import SAMPLE, TYPES, annotation, random_type, related_type
from tests.mypy.programs import Program

HEAD = """
# mypy: disable-error-code="type-arg"
from cloaca import Workflow, task
"""
WRITER = """
class W{number}(BaseModel, arbitrary_types_allowed=True):
    x: {type}
@task
def w{number}() -> W{number}:
    raise NotImplementedError
"""
READER = """
class R{number}(BaseModel, arbitrary_types_allowed=True):
    x: {type}
@task
def r{number}(row: R{number}) -> None:
    raise NotImplementedError
"""


@cache
def is_field(text: str) -> bool:
    """Whether a model of the contract can have a field of this type, so that a workflow can be closed over it."""
    try:
        field: Any = (annotation(text), ...)
        model = create_model("Row", __config__=ConfigDict(arbitrary_types_allowed=True), x=field)
    except (PydanticUserError, ImportError):
        return False
    return not model_problems(model)


def pairs(random: Random, count: int) -> list[tuple[str, str]]:
    """Draw ordered pairs: three of four from the table, the others nested ones that nearly fit."""
    found: dict[tuple[str, str], None] = {}
    while len(found) < count:
        one = random.choice(TYPES) if random.random() < 0.75 else random_type(random, 2)
        other = random.choice(TYPES) if one in TYPES and random.random() < 0.8 else related_type(random, one)
        if is_field(one) and is_field(other):
            found[(one, other) if random.random() < 0.5 else (other, one)] = None
    return list(found)


def program_of(pairs: Sequence[tuple[str, str]]) -> Program:
    """Return the program with a workflow for each pair, and a task for each type on either side."""
    writers = {text: number for number, text in enumerate(dict.fromkeys(one for one, _ in pairs))}
    readers = {text: number for number, text in enumerate(dict.fromkeys(other for _, other in pairs))}
    blocks = [HEAD.strip(), SAMPLE.strip()]
    blocks += [WRITER.format(number=number, type=text).strip() for text, number in writers.items()]
    blocks += [READER.format(number=number, type=text).strip() for text, number in readers.items()]
    blocks += [
        f'p{number} = Workflow("p{number}", w{writers[one]} >> r{readers[other]})  # {one} -> {other}'
        for number, (one, other) in enumerate(pairs)
    ]
    return Program("\n".join([*blocks, ""]))
