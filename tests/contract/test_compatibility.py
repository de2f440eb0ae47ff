"""What keeps a run that other code has begun from going on: each kind of node, and a naive reference for chains."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError, create_model
from returns.result import Result

from cloaca import Workflow, branch, each, subflow, task, wait_for
from cloaca.contract import compatibility
from cloaca.contract.compatibility import Committed, Done, Misfit, misfits


class Ref(BaseModel):
    n: int


class Item(BaseModel):
    sku: str


class Text(BaseModel):
    text: str


class Code(BaseModel):
    text: int


class Oops(BaseModel):
    why: str


class Worse(BaseModel):
    why: str
    code: int


class Items(BaseModel):
    items: list[Item]


@task
def fetch(ref: Ref) -> Item: ...


@task
def read(item: Item) -> Text: ...


@task
def count(item: Item) -> Code: ...


@task
def show(text: Text) -> None: ...


@task
def number(code: Code) -> None: ...


@task
def risky(ref: Ref) -> Result[Item, Oops]: ...


@task
def riskier(ref: Ref) -> Result[Item, Worse]: ...


@task
def stand_in(ref: Ref) -> Item: ...


@task
def undo(ref: Ref) -> None: ...


@task
def listed(ref: Ref) -> Items: ...


@task
def both(ref: Ref) -> Items: ...


def is_large(ref: Ref) -> bool: ...


def done(**outputs: object) -> dict[str, Done]:
    return {name: Done("succeeded", None if value is None else json.dumps(value)) for name, value in outputs.items()}


def found(old: Workflow[Any, Any], new: Workflow[Any, Any], stored: dict[str, Done], **more: Any) -> list[Misfit]:
    committed = Committed(**{"input": '{"n":1}', "done": stored, **more})
    return list(misfits(json.loads(old.plan.spec), committed, new.plan))


def blamed(misfit: Misfit) -> tuple[str, str, str]:
    return misfit.task, misfit.field, misfit.cure


ITEM = {"sku": "a"}
PLAIN = Workflow("w", fetch >> read)


def test_equal_code_fits() -> None:
    assert found(PLAIN, PLAIN, done(fetch=ITEM)) == []
    assert found(PLAIN, PLAIN, {}) == []


def test_what_is_not_committed_may_be_anything() -> None:
    assert found(PLAIN, Workflow("w", fetch >> count >> number), done(fetch=ITEM)) == []
    assert found(PLAIN, Workflow("w", fetch), done(fetch=ITEM)) == []
    assert found(PLAIN, Workflow("w", risky), {}) == []


def test_a_committed_task_that_is_gone() -> None:
    [misfit] = found(PLAIN, Workflow("w", stand_in >> read), done(fetch=ITEM))
    assert blamed(misfit) == ("fetch", "", "fetch")
    assert misfit.message == 'task "fetch" has run, but the workflow no longer has it'


def test_a_committed_field_of_another_type() -> None:
    [misfit] = found(
        Workflow("w", fetch >> read >> show), Workflow("w", fetch >> count.named("read") >> number),
        done(fetch=ITEM, read={"text": "1"}),
    )  # fmt: skip
    assert blamed(misfit) == ("read", "text", "read")
    assert misfit.message.startswith('task "read": field "text" was stored as str, and is int now: ')


def test_a_value_that_fits_the_new_type_is_no_misfit() -> None:
    wider: Any = create_model("Wider", text=(int | str, ...))

    def read_wider(item: Item) -> wider: ...

    new = Workflow("w", fetch >> task(read_wider).named("read"))
    assert found(PLAIN, new, done(fetch=ITEM, read={"text": "1"})) == []


def test_a_branch() -> None:
    def choose(n: Ref) -> bool: ...

    old = Workflow("w", fetch >> branch(is_large, then=read, otherwise=count.named("c")))
    stored = done(fetch=ITEM, read={"text": "x"}) | {"branch:is_large": Done("succeeded", "true")}
    assert found(old, old, stored) == []
    swapped = Workflow("w", fetch >> branch(is_large, then=count.named("c"), otherwise=read))
    [misfit] = found(old, swapped, stored)
    assert blamed(misfit) == ("read", "", "read")
    assert 'by what "is_large" has said' in misfit.message
    other = Workflow("w", fetch >> branch(choose, then=read, otherwise=count.named("c")))
    assert {misfit.task for misfit in found(old, other, stored)} == {"branch:is_large", "read"}


def test_a_condition() -> None:
    gated = Workflow("w", fetch >> read.when(is_large))
    stored = done(fetch=ITEM, read={"text": "x"})
    [misfit] = found(PLAIN, gated, stored)
    assert blamed(misfit) == ("read", "", "read")
    assert 'a condition comes before it now: "is_large"' in misfit.message
    assert found(PLAIN, gated, done(fetch=ITEM)) == []
    said_no = done(fetch=ITEM) | {"when:read:0": Done("succeeded", "false")}
    assert found(gated, gated, said_no) == []
    [misfit] = found(gated, PLAIN, said_no)  # it would run after all
    assert blamed(misfit) == ("read", "", "when:read:0")


def test_a_rescue() -> None:
    old, without = Workflow("w", risky.rescue(stand_in) >> read), Workflow("w", risky >> read)
    failed = {"risky": Done("failed", None, '{"why":"x"}')}
    rescued = failed | done(stand_in=ITEM)
    assert found(old, old, rescued) == []
    assert found(old, without, failed) == []
    assert [blamed(misfit) for misfit in found(old, without, rescued)] == [("stand_in", "", "stand_in")]
    plain = Workflow("w", stand_in.into("spare"), risky)
    assert found(plain, Workflow("w", risky.rescue(stand_in)), done(stand_in=ITEM))[0].task == "stand_in"


def test_the_typed_error_of_a_task_that_has_failed() -> None:
    old, new = Workflow("w", risky), Workflow("w", riskier.named("risky"))
    [misfit] = found(old, new, {"risky": Done("failed", None, '{"why":"x"}')})
    assert blamed(misfit) == ("risky", "code", "risky")
    assert found(old, new, {"risky": Done("failed")}) == []


def test_compensations_come_and_go() -> None:
    plain, undoing = Workflow("w", fetch >> read), Workflow("w", fetch.compensate(undo) >> read)
    assert found(plain, undoing, done(fetch=ITEM)) == []
    assert found(undoing, plain, done(fetch=ITEM)) == []
    name = undoing.plan.nodes[-1].name
    under_way = done(fetch=ITEM) | {name: Done("succeeded")}
    assert found(undoing, undoing, under_way, closing=True) == []
    assert [misfit.cure for misfit in found(undoing, plain, under_way, closing=True)] == [name]


def test_an_epilogue_needs_its_fields() -> None:
    class Wanted(BaseModel):
        sku: str
        colour: str

    class Painted(BaseModel):
        sku: str
        colour: str = "red"

    def painted(ref: Ref) -> Painted: ...

    @task
    def told(wanted: Wanted) -> None: ...

    new = Workflow("w", task(painted).named("fetch") >> told)
    [misfit] = found(PLAIN, new, done(fetch=ITEM))
    assert blamed(misfit) == ("told", "colour", "fetch")
    assert "did not write when it ran" in misfit.message
    assert found(PLAIN, new, done(fetch=ITEM), closing=True) == []


def test_a_signal_that_was_sent_is_not_lost() -> None:
    old = Workflow("w", fetch >> wait_for(Text))
    assert found(old, old, done(fetch=ITEM), signals={"Text": ['{"text":"x"}']}) == []
    [misfit] = found(old, Workflow("w", fetch), done(fetch=ITEM), signals={"Text": ['{"text":"x"}']})
    assert (misfit.task, misfit.cure) == ("wait_for:Text", "")
    assert found(old, Workflow("w", fetch), done(fetch=ITEM)) == []
    other: Any = create_model("Text", text=(int, ...))
    [misfit] = found(old, Workflow("w", fetch >> wait_for(other)), done(fetch=ITEM), signals={"Text": ['{"text":"x"}']})
    assert (misfit.task, misfit.field) == ("wait_for:Text", "text")


def test_a_child_run_keeps_its_node() -> None:
    child, other = Workflow("child", fetch), Workflow("other", fetch)
    old = Workflow("w", subflow(child))
    assert found(old, old, {}, children={"subflow:child"}) == []
    assert [misfit.task for misfit in found(old, PLAIN, {}, children={"subflow:child"})] == ["subflow:child"]
    new = Workflow("w", subflow(other).named("subflow:child"))
    [misfit] = found(old, new, {}, children={"subflow:child"})
    assert '"other"' in misfit.message
    [misfit] = found(old, new, done(**{"subflow:child": ITEM}), children={"subflow:child"})
    assert misfit.cure == "subflow:child"


def test_a_child_run_inside_of_a_fan_out_keeps_its_node() -> None:
    child, other = Workflow("child", read, input=Item), Workflow("other", read, input=Item)
    old = Workflow("w", listed >> each(subflow(child), over="items", into="all"))
    stored, children = done(listed={"items": [ITEM]}), {"each:subflow:child/0/subflow:child"}
    assert found(old, old, stored, children=children) == []
    without = Workflow("w", listed >> each(read.named("subflow:child"), over="items", into="all"))
    [misfit] = found(old, without, stored, children=children)
    assert (misfit.cure, "no longer has it" in misfit.message) == ("", True)
    new = Workflow("w", listed >> each(subflow(other).named("subflow:child"), over="items", into="all"))
    [misfit] = found(old, new, stored, children=children)
    assert '"other"' in misfit.message
    assert found(old, without, stored | done(**{"each:subflow:child": []}), children=children) == []


def test_the_elements_of_a_fan_out() -> None:
    old = Workflow("w", listed >> each(read, over="items", into="texts"))
    begun = done(listed={"items": [ITEM]}) | {"each:read/0/read": Done("succeeded", '{"text":"x"}')}
    assert found(old, old, begun) == []
    new = Workflow("w", listed >> each(count.named("read"), over="items", into="texts"))
    [misfit] = found(old, new, begun)
    assert blamed(misfit) == ("each:read/read", "text", "each:read/0/read")
    gone = Workflow("w", listed)
    assert [blamed(misfit) for misfit in found(old, gone, begun)] == [("each:read", "", "each:read")]
    assert found(old, new, done(listed={"items": [ITEM]})) == []
    whole = begun | done(**{"each:read": [{"text": "x"}]})
    [misfit] = found(old, new, whole)
    assert blamed(misfit) == ("each:read", "text", "each:read")
    lists = [listed, both.writing(items="others")]
    elsewhere = Workflow("w", lists >> each(read, over="others", into="texts"))
    [misfit] = found(old, elsewhere, begun)
    assert "were of another list" in misfit.message


def test_the_input() -> None:
    class Wider(BaseModel):
        n: int
        m: str

    @task
    def more(wider: Wider) -> None: ...

    new = Workflow("w", fetch >> read >> more, input=Wider)
    [misfit] = found(PLAIN, new, done(fetch=ITEM))
    assert blamed(misfit) == ("more", "m", "")
    harmless = Workflow("w", fetch >> read, input=Wider)
    assert found(PLAIN, harmless, done(fetch=ITEM)) == []
    other: Any = create_model("Ref", n=(str, ...))

    @task
    def again(ref: other) -> Text: ...

    [misfit] = found(PLAIN, Workflow("w", again.named("again"), input=other), {})
    assert blamed(misfit) == ("again", "n", "")


def test_another_kind_of_node() -> None:
    old, new = Workflow("w", fetch >> wait_for(Text)), Workflow("w", fetch >> read.named("wait_for:Text"))
    [misfit] = found(old, new, done(**{"fetch": ITEM, "wait_for:Text": {"text": "x"}}))
    assert misfit.message == '"wait_for:Text" was a wait when it ran, and is a task now'


# A naive reference: chains of tasks over a dict, by hand


class Shape(NamedTuple):
    """A task of a chain: what it reads, and what it writes, as fields with ``int`` or ``str``; which are optional."""

    reads: tuple[tuple[str, str], ...]
    writes: tuple[tuple[str, str, bool], ...]


FIELDS, TYPES = st.sampled_from("xy"), st.sampled_from(["int", "str"])
KINDS: dict[str, type] = {"int": int, "str": str}
SAMPLES: dict[str, object] = {"int": 1, "str": "1"}  # a text that could be converted


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """A task that reads some fields and writes others; whatever it reads, somebody may not have written."""
    reads = draw(st.dictionaries(FIELDS, TYPES, max_size=2))
    writes = draw(st.dictionaries(FIELDS, st.tuples(TYPES, st.booleans()), min_size=1, max_size=2))
    return Shape(tuple(reads.items()), tuple((name, *how) for name, how in writes.items()))


CHAINS = st.lists(st.tuples(st.sampled_from("abc"), shapes()), min_size=1, max_size=3, unique_by=lambda each: each[0])


def model_of(name: str, fields: tuple[tuple[Any, ...], ...]) -> type[BaseModel]:
    made: dict[str, Any] = {}
    for field, kind, *optional in fields:
        made[field] = (KINDS[kind], SAMPLES[kind] if optional and optional[0] else ...)
    return create_model(name, **made)


def workflow_of(chain: list[tuple[str, Shape]]) -> Workflow[Any, Any] | None:
    """Close a chain, None if it is no workflow."""
    graph: Any = None
    for name, shape in chain:
        reads, writes = model_of("In", shape.reads), model_of("Out", shape.writes)

        def body(given: Any) -> Any: ...

        body.__annotations__ = {"given": reads, "return": writes} if shape.reads else {"return": writes}
        if not shape.reads:

            def body() -> Any: ...  # type: ignore[misc]  # the same name, for the same use

            body.__annotations__ = {"return": writes}
        body.__qualname__ = body.__name__ = name
        node = task(body).named(name)
        graph = node if graph is None else graph >> node
    try:
        return Workflow("chain", graph, input=model_of("None_", (("z", "int", True),)))
    except Exception:  # noqa: BLE001 - a violation of the contract: no workflow, no run
        return None


def written(shape: Shape) -> dict[str, object]:
    return {name: SAMPLES[kind] for name, kind, _ in shape.writes}


def naive(new: list[tuple[str, Shape]], stored: dict[str, dict[str, object]]) -> bool:
    """Run the chain by hand over a dict; return whether everything is found, and of its very type."""
    if not stored.keys() <= {name for name, _ in new}:
        return False
    context: dict[str, object] = {}
    for name, shape in new:
        if name in stored:
            try:
                model_of("Out", shape.writes).model_validate_json(json.dumps(stored[name]), strict=True)
            except ValidationError:
                return False
            fields = {field for field, _, _ in shape.writes}
            context |= {field: value for field, value in stored[name].items() if field in fields}
        else:
            if any(field not in context for field, _ in shape.reads):
                return False
            context |= written(shape)
    return True


def judged(old: list[tuple[str, Shape]], new: list[tuple[str, Shape]], committed: int) -> tuple[bool, bool] | None:
    """Return what the module and the reference say, None if one of the chains is no workflow."""
    before, after = workflow_of(old), workflow_of(new)
    if before is None or after is None:
        return None
    stored = {name: written(shape) for name, shape in old[:committed]}
    rows = {name: Done("succeeded", json.dumps(output)) for name, output in stored.items()}
    result = misfits(json.loads(before.plan.spec), Committed("{}", rows), after.plan)
    return not result, naive(new, stored)


INT, STR, WIDER = (("x", "int", False),), (("x", "str", False),), (("x", "int", False), ("y", "str", True))
NEEDS = (("x", "int"), ("y", "str"))
CASES = [
    ([("a", Shape((), INT))], [("a", Shape((), STR))], 1),
    ([("a", Shape((), INT))], [("b", Shape((), INT))], 1),
    ([("a", Shape((), INT))], [("a", Shape((), WIDER)), ("b", Shape(NEEDS, INT))], 1),
    ([("a", Shape((), INT))], [("a", Shape((), WIDER))], 1),
    ([("a", Shape((), INT))], [("b", Shape((), (("y", "int", False),))), ("a", Shape((), INT))], 1),
    ([("a", Shape((), (("x", "str", True),)))], [("a", Shape((), (("x", "int", True),)))], 1),
]


@given(CHAINS, CHAINS, st.integers(0, 3))
@example(*CASES[0])
@example(*CASES[1])
@example(*CASES[2])
@example(*CASES[3])
@example(*CASES[4])
@example(*CASES[5])
@settings(max_examples=300, derandomize=True)
def test_the_judgement_is_that_of_running_it_by_hand(
    old: list[tuple[str, Shape]], new: list[tuple[str, Shape]], committed: int
) -> None:
    verdicts = judged(old, new, committed)
    assert verdicts is None or verdicts[0] == verdicts[1]


def _nothing(*_: Any, **__: Any) -> dict[str, str]:
    return {}


def _converted(validator: Any, payload: str, strictly: Any) -> dict[str, str]:
    return ERRORS(validator, payload, frozenset())


def _none(*_: Any, **__: Any) -> list[Any]:
    return []


ERRORS = compatibility._errors
MUTANTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "what is stored is never looked at": ("_problems", _nothing),
    "what is stored may be converted": ("_errors", _converted),
    "what is stored counts as written whatever it has": ("_Scope.lacking", _none),
    "a task that is gone is no matter": ("_Scope.committed", _none),
    "what is to come is not looked at": ("_Scope.to_come", _none),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_reference_kills_mutants(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, what = MUTANTS[mutant]
    holder, _, name = where.rpartition(".")
    monkeypatch.setattr(getattr(compatibility, holder) if holder else compatibility, name, what)
    verdicts = [judged(*case) for case in CASES]
    assert any(found is not None and found[0] != found[1] for found in verdicts)
