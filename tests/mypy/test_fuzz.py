"""Whatever a user writes, mypy comes to an end: no crash, and no note of the plugin's that it could not check this.

The programs are of two kinds: a table of nasty ones, and random ones from a small grammar. They are checked many at
once, each in a module of its own. What mypy says else of them is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.mypy.projects_checking import ROOT, Project, crashes, dependencies
from tests.mypy.projects_nasty import CYCLE, HALF_WRITTEN, HEAD, programs

SHOP = (ROOT / "tests" / "typing" / "shop.py").read_text()


def project(folder: Path, factory: pytest.TempPathFactory) -> Project:
    found = Project(folder, options="enable_error_code = cloaca-unchecked\n", dependencies=dependencies(factory))
    found.write({"shop": SHOP})
    return found


def test_nasty_programs(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    trial = project(tmp_path, tmp_path_factory)
    trial.write({**programs(), **CYCLE})
    answer = trial.cold()
    assert crashes(answer) == []
    assert answer.status == 1, answer.text
    assert {line.partition(".py:")[0] for line in answer.lines} >= {*programs(), *CYCLE} - {"shop"}


@pytest.mark.parametrize("number", range(len(HALF_WRITTEN)))
def test_half_written_programs(number: int, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    trial = project(tmp_path, tmp_path_factory)
    trial.write({"half": f"{HEAD}\n{HALF_WRITTEN[number]}\nWorkflow('w', charge >> fetch)\n"})
    answer = trial.cold("half.py")
    assert crashes(answer) == []
    assert "[syntax]" in answer.text or answer.status == 2


# Random ones

ATOMS = (
    *("fetch", "charge", "reserve", "ship", "pack", "audit", "ping", "first_order") * 2,
    "Graph()",
    "()",
    "[]",
    "anything",
)
ODD = ("None", "1", "'x'", "print", "Order", "undefined", "lambda x: x", "functools.partial(fetch)", "xs", "*xs")
CHANGES = (
    *(
        ".named('{}')",
        ".on('all_done')",
        ".into('{}')",
        ".when(lambda x: True)",
        ".when(holds)",
        ".reading(order_id='{}')",
    ),
    *(
        ".writing(sku='{}')",
        ".with_options(timeout=3)",
        ".sealed(OrderRef, Order)",
        ".sealed(Pick, None)",
        ".reading(**kw)",
    ),
)
PLACES = (
    *(
        "Workflow('w', {0})",
        "Workflow('w', {0}, {1})",
        "Workflow('w', {0}, input=OrderRef)",
        "Workflow('w', {0}, output=Pick)",
    ),
    *("g{2} = {0}", "g{2}: Graph[OrderRef, Order] = {0}", "def f{2}() -> Graph[Pick, Reservation]:\n    return {0}"),
    *("run(Workflow('w', {0}), {1})", "def h{2}(x: Any = {0}) -> Any:\n    return x & {1}", "[{0} for x in xs if {1}]"),
)
RANDOM_HEAD = f"""{HEAD}
anything: Any = 1
xs = [fetch, charge]
kw: dict[str, str] = {{}}
def holds(order: Order) -> bool: ...
"""


def expression(random: Random, depth: int) -> str:
    """Draw an expression of graphs, now and then of something else."""
    kind = random.random() if depth else 0.0
    if kind < 0.2:
        return random.choice(ATOMS if random.random() < 0.93 else ODD)
    one, other = expression(random, depth - 1), expression(random, depth - 1)
    if kind < 0.65:
        return f"({one} {random.choice(('>>', '>>', '>>', '&', '&', 'or', '|'))} {other})"
    if kind < 0.8:
        return random.choice(("[{0}, {1}]", "({0}, {1})", "[{0}]", "({0} if kw else {1})", "(y := {0})")).format(
            one, other
        )
    return f"({one}){random.choice(CHANGES).format(random.choice(('sku', 'order_id', 'x', '')))}"


def drawn(seed: int) -> Iterator[str]:
    random = Random(f"fuzz/{seed}")
    for number in range(60):
        text = random.choice(PLACES).format(expression(random, 4), expression(random, 2), number)
        if _is_python(text):
            yield text


def _is_python(text: str) -> bool:
    try:
        compile(text, "drawn", "exec")
    except SyntaxError:
        return False
    return True


def test_random_programs(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    trial = project(tmp_path, tmp_path_factory)
    texts = {f"drawn{seed}": list(drawn(seed)) for seed in range(12)}
    assert sum(map(len, texts.values())) > 400
    trial.write({name: RANDOM_HEAD + "\n".join(text) + "\n" for name, text in texts.items()})
    answer = trial.cold()
    assert crashes(answer) == []
    assert answer.status == 1, answer.text


# What becomes of a fault

FAULTY = """
from cloaca.mypy import CloacaPlugin, closing
from cloaca.mypy.hooks import guarded


def broken(context, session):
    raise LookupError("nothing here")


FAULTS = guarded({closing.WORKFLOW: broken}, "default_return_type")


class Faulty(CloacaPlugin):
    def get_function_hook(self, fullname):
        return FAULTS.get(fullname)


def plugin(version):
    return Faulty
"""


def test_a_fault_of_the_plugin_becomes_one_note_that_names_it(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    trial = Project(tmp_path, plugins=("./faulty.py",))
    trial.write(
        {
            "shop": SHOP,
            "program": "from shop import *\nfrom cloaca import Workflow\n\nw = Workflow('w', charge >> fetch)\n",
        }
    )
    answer = trial.cold("program.py")
    fault = "LookupError: nothing here (faulty.py:7)"
    text = f"program.py:4: note: cloaca.mypy could not check this, which is a fault of its own: {fault}"
    assert [line for line in answer.lines if line.startswith("program.py")] == [text]
