"""What a list says on the command line: all of it, the beginning of it, or that there is nothing."""

from __future__ import annotations

import json
from typing import TextIO

import pytest

from cloaca.cli.lists import Form, print_list


def _table(numbers: list[int], out: TextIO) -> None:
    out.write(f"table of {numbers}\n")


FORM: Form[int] = Form(lambda number: {"number": number}, _table, "no numbers", lambda number: f"--after {number}")


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    ("there", "shown", "note"),
    [(0, 0, "note: no numbers\n"), (1, 1, ""), (2, 2, ""), (3, 2, "note: there are more: --after 1\n")],
)
def test_a_list_ends_at_its_limit(
    capsys: pytest.CaptureFixture[str], there: int, shown: int, note: str, as_json: bool
) -> None:
    print_list(FORM, lambda limit: list(range(there))[:limit], limit=2, as_json=as_json)
    said = capsys.readouterr()
    assert said.err == note
    if as_json:
        assert json.loads(said.out) == [{"number": number} for number in range(shown)]
    else:
        assert said.out == (f"table of {list(range(shown))}\n" if shown else "")
