"""``--input``: where it comes from, and what is said of one that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, Field, field_validator

from cloaca import Workflow, task
from cloaca.cli.inputs import read_input
from cloaca.cli.refusals import Exit, Refusal
from cloaca.cli.targets import AnyWorkflow
from tests.cli.conftest import Command, Shell


class Item(BaseModel):
    sku: str
    count: int = Field(1, gt=0, alias="n")


class Cart(BaseModel):
    owner: str
    items: list[Item] = []

    @field_validator("owner")
    @classmethod
    def _known(cls, owner: str) -> str:
        if owner == "crash":
            raise KeyError(owner)
        return owner


@task
def checkout(cart: Cart) -> None: ...


@task
def alone() -> None: ...


CHECKOUT, ALONE = Workflow("checkout", checkout), Workflow("alone", alone)


def refused(source: str | None, workflow: AnyWorkflow = CHECKOUT) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read_input(workflow, source)
    return caught.value


def test_fields_go_by_name_or_by_alias() -> None:
    for name in ("n", "count"):
        cart = read_input(CHECKOUT, f'{{"owner": "a", "items": [{{"sku": "s", "{name}": 2}}]}}')
        assert isinstance(cart, Cart)
        assert cart.items[0].count == 2


def test_every_problem_is_said_with_its_path() -> None:
    refusal = refused('{"ownr": 1, "items": [{"sku": "s"}, {"sku": 2, "n": 0}]}')
    assert refusal.code is Exit.USAGE
    assert refusal.message == 'the input does not fit Cart, which workflow "checkout" takes'
    assert refusal.details == (
        'owner: Field required; the input has "ownr"',
        "items[1].sku: Input should be a valid string, not 2",
        "items[1].n: Input should be greater than 0, not 0",
        "Cart has owner (str), items (list[Item], optional).",
    )


def test_a_validator_that_crashes_is_shown_as_the_users() -> None:
    refusal = refused('{"owner": "crash"}')
    assert refusal.code is Exit.FAILED
    assert "KeyError: 'crash'" in refusal.details[0]


def test_no_input_is_asked_for_unless_defaults_do() -> None:
    assert refused(None).message == 'workflow "checkout" takes Cart: give it with --input'
    assert refused("{}", ALONE).message == 'workflow "alone" takes no input'
    assert read_input(ALONE, None) is None


def test_a_file_is_read_and_one_that_can_not_be_is_said(tmp_path: Path) -> None:
    good, latin = tmp_path / "cart.json", tmp_path / "latin.json"
    good.write_bytes(b'\xef\xbb\xbf{"owner": "b\xc3\xa9"}')
    latin.write_bytes(b'{"owner": "b\xe9"}')
    cart = read_input(CHECKOUT, f"@{good}")
    assert isinstance(cart, Cart)
    assert cart.owner == "bé"
    assert "is not UTF-8" in refused(f"@{latin}").message
    assert "No such file" in refused(f"@{tmp_path / 'none.json'}").message
    assert refused(str(good)).details == (f"For the content of the file write --input @{good}",)


def test_the_command_reads_standard_input(shell: Shell) -> None:
    answer = shell("run", "jobs:orders", "--input", "-", stdin='{"order_id": 7}')
    assert (answer.code, answer.out) == (0, '{"tracking": "t-p1"}\n')


@pytest.mark.parametrize(
    ("source", "said"),
    [("{", "the input is no JSON: EOF"), ('{"order_id": "x"}', "  order_id: Input should be a valid integer")],
)
def test_a_wrong_input_is_usage_and_stores_nothing(here: Path, cloaca: Command, source: str, said: str) -> None:
    answer = cloaca("run", "jobs:orders", "--input", source)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert not (here / "cloaca.db").exists()
