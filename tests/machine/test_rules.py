"""Which tasks run and which are skipped, and how: the tables to read, executed."""

from collections.abc import Iterator

import pytest

from cloaca.algebra.graphs import RULES, Rule
from cloaca.machine.states import RunState, Skip
from cloaca.machine.statuses import RunStatus
from tests.machine.plays import adopted, ends, play
from tests.machine.programs import Item, Scope, plan_of, scope

# Two predecessors that have succeeded, have failed, were skipped by decision or by failure; what then becomes of the
# task behind them under each rule: it runs, or is skipped by decision or by failure. Their order doesn't matter.
RULE_TABLE = """
    predecessors          none_failed  all_success  all_done  any_success  any_failed  all_failed
    succeeded  succeeded  runs         runs         runs      runs         decision    decision
    succeeded  failed     failure      failure      runs      runs         runs        decision
    succeeded  decision   runs         decision     runs      runs         decision    decision
    succeeded  failure    failure      failure      runs      runs         runs        decision
    failed     failed     failure      failure      runs      failure      runs        runs
    failed     decision   failure      failure      runs      failure      runs        decision
    failed     failure    failure      failure      runs      failure      runs        runs
    decision   decision   runs         decision     runs      decision     decision    decision
    decision   failure    failure      failure      runs      failure      runs        decision
    failure    failure    failure      failure      runs      failure      runs        runs
"""

# A task without predecessors: "all" holds of none, "any" does not.
FIRST_TABLE = """
    none_failed  all_success  all_done  any_success  any_failed  all_failed
    runs         runs         runs      decision     decision    runs
"""

# A condition over several tasks, and how it ends; it decides for all of them, whatever their own rules say.
GATE_TABLE = """
    the condition         its tasks
    said no               decision
    raised                failure
    skipped by decision   decision
    skipped by failure    failure
"""


def cases() -> Iterator[tuple[str, str, Rule, str]]:
    _, *rows = (line.split() for line in RULE_TABLE.strip().splitlines())
    for one, other, *cells in rows:
        for rule, cell in zip(RULES, cells, strict=True):
            yield one, other, rule, cell
            if one != other:
                yield other, one, rule, cell


def shown(end: str) -> str:
    return {"succeeded": "runs"}.get(end, end.removeprefix("skipped by "))


@pytest.mark.parametrize(("one", "other", "rule", "cell"), list(cases()))
def test_a_rule_looks_at_how_the_predecessors_ended(one: str, other: str, rule: Rule, cell: str) -> None:
    program = Scope(
        (
            Item("broken"),
            Item("one", (0,) if one == "failure" else ()),
            Item("other", (0,) if other == "failure" else ()),
            Item("task", (1, 2), rule),
        ),
        tuple((place, place + 1) for place, outcome in ((1, one), (2, other)) if outcome == "decision"),
    )
    outcomes = {"one": one, "other": other}
    failing = {"broken"} if "failure" in (one, other) else set()
    failing |= {name for name, outcome in outcomes.items() if outcome == "failed"}
    plan = plan_of(program)
    end = ends(plan, play(plan, failing=failing, refusing={"when:one:0", "when:other:0"}))
    assert {name: end[name].removeprefix("skipped by ") for name in outcomes} == outcomes
    assert shown(end["task"]) == cell


def test_the_table_names_every_rule() -> None:
    header, *_ = RULE_TABLE.strip().splitlines()
    assert tuple(header.split()[1:]) == RULES


@pytest.mark.parametrize(
    ("rule", "cell"), list(zip(*(line.split() for line in FIRST_TABLE.strip().splitlines()), strict=True))
)
def test_a_first_task(rule: Rule, cell: str) -> None:
    plan = plan_of(scope(Item("task", rule=rule)))
    assert shown(ends(plan, play(plan))["task"]) == cell


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("line", GATE_TABLE.strip().splitlines()[1:], ids=lambda line: line.strip()[:20].strip())
def test_a_condition_decides_for_all_its_tasks(rule: Rule, line: str) -> None:
    how, cell = line.strip().rsplit(maxsplit=1)
    how = how.strip()
    program = scope(
        Item("before"), Item("head", (0,)), Item("member", (1,), rule), Item("behind", (2,)), groups=((1, 4), (1, 3))
    )
    inner, outer = "when:head:1", "when:head:0"
    failing = {"raised": {inner}, "skipped by failure": {"before"}}.get(how, set())
    refusing = {"said no": {inner}, "skipped by decision": {outer}}.get(how, set())
    plan = plan_of(program)
    end = ends(plan, play(plan, failing=failing, refusing=refusing))
    assert shown(end["head"]) == shown(end["member"]) == cell


def test_the_outermost_condition_comes_first() -> None:
    plan = plan_of(scope(Item("task"), groups=((0, 1),)))
    asked = plan_of(scope(Item("task"), Item("behind", (0,)), groups=((0, 2), (0, 1))))
    assert ends(plan, play(plan, refusing={"when:task:0"}))["task"] == "skipped by decision"
    end = ends(asked, play(asked, refusing={"when:task:0", "when:task:1"}))
    assert end["when:task:0"] == "succeeded"
    assert end["when:task:1"] == "skipped by decision"  # not asked


def test_a_condition_that_says_no_comes_before_failures_elsewhere() -> None:
    """The checker counts on nothing of ``x`` in ``d`` either: only on what is sure at the condition."""
    plan = plan_of(scope(Item("x"), Item("b"), Item("c", (0, 1)), Item("d", (2,)), groups=((1, 3),)))
    end = ends(plan, play(plan, failing={"x"}, refusing={"when:b:0"}))
    assert (end["c"], end["d"]) == ("skipped by decision", "succeeded")
    end = ends(plan, play(plan, failing={"x"}))
    assert (end["c"], end["d"]) == ("skipped by failure", "skipped by failure")


@pytest.mark.parametrize("refusing", [(), ("when:b:0",)])
def test_what_follows_a_condition_runs_either_way(refusing: tuple[str, ...]) -> None:
    plan = plan_of(scope(Item("a"), Item("b", (0,)), Item("c", (1,)), Item("d", (2,)), groups=((1, 3),)))
    state = play(plan, refusing=refusing)
    assert ends(plan, state)["d"] == "succeeded"
    assert ends(plan, state)["b"] == ends(plan, state)["c"] == ("skipped by decision" if refusing else "succeeded")
    assert state.status is RunStatus.SUCCEEDED


def test_what_does_not_depend_on_a_failure_still_runs() -> None:
    plan = plan_of(scope(Item("a"), Item("b"), Item("c", (0,)), Item("d", (1,))))
    state = play(plan, failing={"a"})
    assert ends(plan, state) == {"a": "failed", "b": "succeeded", "c": "skipped by failure", "d": "succeeded"}
    assert state.status is RunStatus.FAILED


def test_a_run_has_failed_whatever_ran_because_of_it() -> None:
    plan = plan_of(scope(Item("charge"), Item("apologise", (0,), "any_failed"), Item("close", (1,), "all_done")))
    state = play(plan, failing={"charge"})
    assert ends(plan, state)["apologise"] == ends(plan, state)["close"] == "succeeded"
    assert state.status is RunStatus.FAILED


def test_an_unmet_rule_is_a_decision_so_what_follows_runs() -> None:
    plan = plan_of(scope(Item("charge"), Item("apologise", (0,), "any_failed"), Item("close", (1,))))
    assert ends(plan, play(plan)) == {"charge": "succeeded", "apologise": "skipped by decision", "close": "succeeded"}


SEALED = scope(Item("a"), Item("box", (0,), inner=scope(Item("x"), Item("y", (0,)))), Item("d", (1,)))


def test_a_sealed_graph_that_is_not_entered_is_skipped_as_a_whole() -> None:
    plan = plan_of(SEALED)
    end = ends(plan, play(plan, failing={"a"}))
    assert {end[name] for name in ("entry:box", "box/x", "box/y", "box", "d")} == {"skipped by failure"}


def test_a_failure_inside_a_sealed_graph_counts_as_its_own() -> None:
    plan = plan_of(SEALED)
    end = ends(plan, play(plan, failing={"box/x"}))
    assert end["box/y"] == end["box"] == end["d"] == "skipped by failure"


def test_an_entry_that_raises_counts_as_failed() -> None:
    plan = plan_of(SEALED)
    end = ends(plan, play(plan, failing={"entry:box"}))
    assert end["box/x"] == end["box"] == "skipped by failure"


def test_the_reason_of_a_skip_is_a_node() -> None:
    plan = plan_of(scope(Item("a"), Item("b", (0,)), Item("c", (1,)), Item("d", (2,), "all_failed"), groups=((2, 3),)))
    at = plan.by_name
    failed = play(plan, failing={"a"})
    assert failed.skips[at["b"]] == Skip("failure", at["a"])
    assert failed.skips[at["when:c:0"]] == Skip("failure", at["b"])
    assert failed.skips[at["c"]] == Skip("failure", at["when:c:0"])
    refused = play(plan, refusing={"when:c:0"})
    assert refused.skips[at["c"]] == Skip("decision", at["when:c:0"])
    assert refused.skips[at["d"]] == Skip("decision", at["d"])  # its own rule


def test_first_tasks_that_are_skipped_let_others_go_on_before_anybody_has_the_run() -> None:
    plan = plan_of(
        scope(
            Item("a", rule="any_failed"), Item("b", (0,), "all_success"), Item("c", (1,)), Item("d", rule="any_success")
        )
    )
    state = RunState(plan)
    assert ends(plan, state) == {
        "a": "skipped by decision",
        "b": "skipped by decision",
        "c": "ready",
        "d": "skipped by decision",
    }
    assert (state.open, state.unfinished) == ([0] * 4, 1)
    assert [plan.nodes[node].name for node in state.take_news()] == ["a", "d", "b", "c"]


def test_a_run_of_which_all_tasks_are_skipped_succeeds_as_soon_as_somebody_has_it() -> None:
    plan = plan_of(scope(Item("a", rule="any_failed"), Item("b", (0,), "all_success")))
    assert RunState(plan).status is RunStatus.PENDING
    assert adopted(plan).status is RunStatus.SUCCEEDED
