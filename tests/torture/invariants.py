"""What is true of every database once nothing befalls it any more, whatever befell it before, as named functions.

Each returns the rows that offend, none if it holds, and its first sentence says what holds. The guarantees page lists
them by name. They ask the database in SQL, and compare it with what bodies and submitters have noted elsewhere. To add
one, write a function and put it into ``FUNCTIONS``; a test must plant what it is to find.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise

from tests.torture.evidence import FINAL, Evidence, leases_of_the_dead, stories, to_come, unfinished
from tests.torture.journal import Line
from tests.torture.places import Rows


def acknowledged_runs_kept(seen: Evidence) -> Rows:
    """Every run whose ``start`` has returned is in the database, under the id that it has returned."""
    there = {str(run) for (run,) in seen.ask("SELECT id FROM cloaca_run")}
    return [
        (line["run"], line["workflow"], line["key"]) for line in seen.of("acknowledged") if line["run"] not in there
    ]


def every_run_ends(seen: Evidence) -> Rows:
    """Every run that is in the database has ended, without anybody's help."""
    return unfinished(seen.place)


def every_firing_runs_once(seen: Evidence) -> Rows:
    """A schedule that catches up with all fires at each of its times up to its end, and for each there is one run."""
    found = seen.ask(
        "SELECT f.schedule, f.scheduled_for, f.state, count(r.id) FROM cloaca_firing AS f LEFT JOIN cloaca_run AS r "
        "ON r.schedule = f.schedule AND r.scheduled_for = f.scheduled_for "
        "GROUP BY f.schedule, f.scheduled_for, f.state ORDER BY f.schedule, f.scheduled_for"
    )
    wrong = [row for row in found if row[2:] != ("handed_over", 1)] + to_come(seen.place)
    for name, every_s, end_at in seen.ask("SELECT name, every_s, end_at FROM cloaca_schedule WHERE catchup = 'all'"):
        times = [at for schedule, at, *_ in found if schedule == name]
        wrong += [(name, at, then) for at, then in pairwise(times) if then - at > every_s * 1.01]
        wrong += [(name, at, end_at) for at in times[-1:] if at + every_s * 1.01 < end_at]
    return wrong


def an_end_has_a_time(seen: Evidence) -> Rows:
    """A run has a time of its end exactly if it has ended."""
    return seen.ask(
        f"SELECT id, status, finished_at FROM cloaca_run WHERE (status IN {FINAL}) <> (finished_at IS NOT NULL)"
    )


def one_run_per_key(seen: Evidence) -> Rows:
    """However often a run is started with its key, there is one."""
    return seen.ask(
        "SELECT workflow, key, count(*) FROM cloaca_run WHERE key IS NOT NULL "
        "GROUP BY workflow, key HAVING count(*) > 1"
    )


def one_commit_per_task(seen: Evidence) -> Rows:
    """A task of a run is committed once."""
    return seen.ask("SELECT run_id, name, count(*) FROM cloaca_task GROUP BY run_id, name HAVING count(*) > 1")


def one_failure_per_attempt(seen: Evidence) -> Rows:
    """An attempt fails once."""
    return seen.ask(
        "SELECT run_id, name, attempt, count(*) FROM cloaca_failure GROUP BY run_id, name, attempt HAVING count(*) > 1"
    )


def attempts_go_up(seen: Evidence) -> Rows:
    """The failed attempts of a task are 1 to n, without a gap; the one that succeeds is the next."""
    return seen.ask(
        "SELECT run_id, name, max(attempt), count(DISTINCT attempt) FROM cloaca_failure "
        "GROUP BY run_id, name HAVING max(attempt) <> count(DISTINCT attempt)"
    ) + seen.ask(
        "SELECT t.run_id, t.name, t.status, t.attempt, coalesce(max(f.attempt), 0) FROM cloaca_task AS t "
        "LEFT JOIN cloaca_failure AS f ON f.run_id = t.run_id AND f.name = t.name WHERE t.status = 'succeeded' "
        "GROUP BY t.run_id, t.name, t.status, t.attempt HAVING t.attempt <> coalesce(max(f.attempt), 0) + 1"
    )


def rows_belong_to_runs(seen: Evidence) -> Rows:
    """No task, failure, attempt or note is without its run, and no run without its plan."""
    orphans: Rows = []
    for table in ("task", "failure", "attempt", "note"):
        found = f"SELECT '{table}', run_id FROM cloaca_{table} WHERE run_id NOT IN (SELECT id FROM cloaca_run)"
        orphans += seen.ask(found)
    return orphans + seen.ask("SELECT id, plan FROM cloaca_run WHERE plan NOT IN (SELECT digest FROM cloaca_plan)")


def owners_hold_a_lease(seen: Evidence) -> Rows:
    """A run that is running has an owner that holds a lease; any other run has none."""
    return seen.ask(
        "SELECT id, status, owner FROM cloaca_run WHERE (status = 'running') <> (owner IS NOT NULL) "
        "OR (owner IS NOT NULL AND owner NOT IN (SELECT id FROM cloaca_session))"
    )


def leases_belong_to_the_living(seen: Evidence) -> Rows:
    """No lease is left of a process that is gone."""
    return leases_of_the_dead(seen.place)


def no_attempt_is_left_over(seen: Evidence) -> Rows:
    """No attempt is shown as running of a task that is committed, nor in a run that nobody drives."""
    return seen.ask(
        "SELECT a.run_id, a.name, a.attempt FROM cloaca_attempt AS a JOIN cloaca_run AS r ON r.id = a.run_id "
        "WHERE r.owner IS NULL OR a.name IN (SELECT name FROM cloaca_task AS t WHERE t.run_id = a.run_id)"
    )


def predecessors_come_first(seen: Evidence) -> Rows:
    """No committed task began before each of its committed predecessors had ended."""
    times: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for run, name, began, ended in seen.ask("SELECT run_id, name, started_at, finished_at FROM cloaca_task"):
        times.setdefault((run, name), []).append((began, ended))
    return [
        (run, name, began, before, ended)
        for (run, name), mine in times.items()
        for began, _ in mine
        for before in seen.predecessors.get(run, {}).get(name, ())
        for _, ended in times.get((run, before), ())
        if began < ended
    ]


def nothing_begins_before_its_commit(seen: Evidence) -> Rows:
    """Whenever a body had begun, what comes before it was in the database already, even if its process died next."""
    early: Rows = []
    for moment in seen.snapshots:
        there = {(run, name) for run, name, *_ in moment.commits}
        for line in seen.lines[: moment.length]:
            if line["kind"] != "began":
                continue
            run, name = int(line["run"]), line["task"]
            before = seen.predecessors.get(run, {}).get(name, ())
            known = moment.runs.get(run, ("", ""))
            early += [
                (run, name, pred) for pred in before if (run, pred) not in there and seen.runs_calmly(known, pred)
            ]
    return early


def commits_are_kept(seen: Evidence) -> Rows:
    """What was committed once is there for good, and never changes."""
    there = set(seen.ask("SELECT run_id, name, status, attempt, session, output FROM cloaca_task"))
    return sorted({row for moment in seen.snapshots for row in moment.commits - there})


def nothing_runs_after_its_commit(seen: Evidence) -> Rows:
    """Whoever takes a run over after a task of it was seen committed does not begin that task's body."""
    first: dict[tuple[str, str], float] = {}
    for moment in seen.snapshots:
        for run, name, *_ in moment.commits:
            first[str(run), name] = min(moment.at, first.get((str(run), name), moment.at))
    return [
        (line["run"], line["task"], line["attempt"], line["session"])
        for line in seen.of("began")
        if line["since"] > first.get((line["run"], line["task"]), line["since"])
    ]


def nothing_begins_while_paused(seen: Evidence) -> Rows:
    """After ``pause`` has returned no body of the run begins until it is resumed; but by who lost it before."""
    paused: set[str] = set()
    begun: Rows = []
    for line in seen.lines:
        if line["kind"] == "paused":
            paused.add(line["run"])
        elif line["kind"] == "resuming":
            paused.discard(line["run"])
        elif line["kind"] == "began" and line["run"] in paused and not _has_lost(seen, line):
            begun.append((line["run"], line["task"], line["attempt"], line["session"]))
    return begun


def _has_lost(seen: Evidence, began: Line) -> bool:
    """Whether another had claimed the run before this body began."""
    return any(
        other["run"] == began["run"] and began["since"] < other["since"] < began["at"] for other in seen.of("began")
    )


def one_execution_per_claim(seen: Evidence) -> Rows:
    """Of those that claim a run, each begins a task's body once for each attempt."""
    claims = ((line["session"], line["since"]) for line in seen.of("began"))
    times = Counter(
        (line["run"], line["task"], line["attempt"], *claim)
        for line, claim in zip(seen.of("began"), claims, strict=True)
    )
    return [(*which, count) for which, count in times.items() if count > 1]


def every_commit_was_executed(seen: Evidence) -> Rows:
    """Every attempt that is committed, as done or as failed, was executed to its end; conditions have no body."""
    done = {(line["run"], line["task"], line["attempt"]) for line in seen.of("done")}
    rows = seen.ask("SELECT run_id, name, attempt FROM cloaca_task WHERE name NOT LIKE 'when:%'")
    rows += seen.ask("SELECT run_id, name, attempt FROM cloaca_failure")
    return sorted({row for row in rows if (str(row[0]), *row[1:]) not in done})


def idempotency_keys_are_stable(seen: Evidence) -> Rows:
    """A task of a run has one idempotency key, whoever executes it and however often."""
    keys: dict[tuple[str, str], set[str]] = {}
    for line in seen.of("began") + seen.of("done"):
        keys.setdefault((line["run"], line["task"]), set()).add(line["key"])
    return [(*which, sorted(each)) for which, each in keys.items() if len(each) > 1]


def results_are_undisturbed(seen: Evidence) -> Rows:
    """Every run went as in a calm world: the same status, the same outputs by the same attempts, the same failures."""
    odd: Rows = []
    for run, (known, story) in stories(seen.place).items():
        calm = seen.expected.get(known)
        if calm is None:
            odd.append((run, *known, "is not known"))
        elif story != calm:
            odd.append(
                (
                    run,
                    *known,
                    story.status,
                    *sorted(map(str, (story.commits ^ calm.commits) | (story.failures ^ calm.failures))),
                )
            )
    return odd


def no_process_gives_up(seen: Evidence) -> Rows:
    """A process that nobody has killed goes on, whatever befalls its database, and leaves in order when it is told."""
    return [exit for exit in seen.exits if exit[1] != 0]


def the_database_is_sound(seen: Evidence) -> Rows:
    """The database finds nothing wrong with its files and indexes."""
    return seen.place.damage()


FUNCTIONS = (
    acknowledged_runs_kept,
    an_end_has_a_time,
    attempts_go_up,
    commits_are_kept,
    every_commit_was_executed,
    every_firing_runs_once,
    every_run_ends,
    idempotency_keys_are_stable,
    leases_belong_to_the_living,
    no_attempt_is_left_over,
    no_process_gives_up,
    nothing_begins_before_its_commit,
    nothing_begins_while_paused,
    nothing_runs_after_its_commit,
    one_commit_per_task,
    one_execution_per_claim,
    one_failure_per_attempt,
    one_run_per_key,
    owners_hold_a_lease,
    predecessors_come_first,
    results_are_undisturbed,
    rows_belong_to_runs,
    the_database_is_sound,
)

INVARIANTS: Mapping[str, Callable[[Evidence], Rows]] = {each.__name__.replace("_", "-"): each for each in FUNCTIONS}


def violated(seen: Evidence) -> dict[str, Rows]:
    """Return the invariants that don't hold, with the rows that offend."""
    found = {name: holds(seen) for name, holds in INVARIANTS.items()}
    return {name: rows for name, rows in found.items() if rows}


def report(seen: Evidence) -> str:
    """Return what is wrong in words, "" if nothing is."""
    return "\n".join(
        f"{name}: {(INVARIANTS[name].__doc__ or '').splitlines()[0]}\n" + "\n".join(f"    {row}" for row in rows[:20])
        for name, rows in violated(seen).items()
    )
