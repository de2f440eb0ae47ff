"""The words of each violation: which task, which field, both types, what is there instead, and the near miss.

It decides nothing: the checker has found the violation, this file says it to a person.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from cloaca.contract.steps import INPUT, Read, Write
from cloaca.errors import Violation

if TYPE_CHECKING:
    from cloaca.contract.checker import Checker

NAMED = 3  # at most so many tasks are named in one sentence
SEARCHED = 500  # and so many ancestors looked at: a graph of 100,000 tasks may lack a field at each of them


def missing_field(checker: Checker, index: int, read: Read) -> Violation:
    """A required read that nobody before the task provides."""
    step, key, task = checker.steps[index], _key(checker, read.key), _task(checker, index, read)
    ancestors = _ancestors(checker, index)
    near = _near_miss(checker, index, key, ancestors)
    later = next((other for other in checker.writers.get(read.key, ()) if other != index), None)
    text = f"{_requires(checker, index, read)}, which {_provided_by_none(checker, index, ancestors)}"
    if near:
        text += f'; did you mean "{near[0]}" (from {near[1]})?'
    elif later is not None:
        text += f'; "{checker.steps[later].task}" provides it, but not before "{step.task}"'
    return Violation("workflow-input" if step.closing else "missing-field", task, key, text)


def field_type(checker: Checker, index: int, read: Read, provider: int, provided: object) -> Violation:
    """A read whose provider's type does not fit."""
    step, key, show = checker.steps[index], _key(checker, read.key), checker.types.show
    misfit = step.closing or (checker.graph.by_element and provider == INPUT)
    text = (
        f'{_reader(checker, index, read)} reads field "{key}" as {show(read.type)}{_renamed(read, key)}, but '
        f"{_provider(checker, index, provider)} provides it as {show(provided)}"
    )
    return Violation("workflow-input" if misfit else "field-type", _task(checker, index, read), key, text)


def maybe_missing(checker: Checker, index: int, read: Read, found: Sequence[int]) -> Violation:
    """A required read whose providers are not sure to have run."""
    step, key = checker.steps[index], _key(checker, read.key)
    tasks = [checker.steps[provider].task for provider in found if not _is_input(checker, provider)]
    if len(tasks) == len(found):
        provide, they = ("provides", "it") if len(tasks) == 1 else ("provide", "they")
        why = f"only {_listed(tasks)} {provide} it, and {they} may not have run"
    else:
        optional = f"it is optional in {_input(checker, index)}"
        why = (
            f"{_listed(tasks)} may not have run, and {optional}" if tasks else f"{optional}, and nothing else writes it"
        )
    text = (
        f"{_requires(checker, index, read)}, but it may be absent: {why}; "
        f"give {read.model}.{read.field} a default, or provide it another way"
    )
    return Violation("workflow-input" if step.closing else "maybe-missing", _task(checker, index, read), key, text)


def write_conflict(checker: Checker, key: str, earlier: int, index: int) -> Violation:
    """Two tasks without an order between them write the same field."""
    show, name, writers = checker.types.show, _key(checker, key), checker.writers[key]
    one, other = checker.steps[earlier].task, checker.steps[index].task
    reducers = writers[earlier].reducer, writers[index].reducer
    cure = "give it a reducer" if reducers == (None, None) else "give it the same reducer in both"
    text = (
        f'Tasks "{one}" and "{other}" are not ordered (they may run in parallel) but both write field "{name}" '
        f"({show(writers[earlier].type)} and {show(writers[index].type)}); order them with >>, rename the field in one "
        f"of them with {checker.steps[index].elsewhere or _elsewhere(writers[index])}, or {cure}"
    )
    return Violation("write-conflict", other, name, text)


def unread_rewrite(checker: Checker, key: str, index: int, provider: int) -> Violation:
    """A task replaces a value that it has not read."""
    task, name, writers = checker.steps[index].task, _key(checker, key), checker.writers[key]
    replaced = checker.graph.input[key] if provider == INPUT else writers[provider]
    show = checker.types.show
    text = (
        f'Task "{task}" writes field "{name}" ({show(writers[index].type)}), which '
        f"{_provider(checker, index, provider)} has written ({show(replaced.type)}), without reading it; "
        f"read it (a field with a default will do), or write elsewhere with "
        f"{checker.steps[index].elsewhere or _elsewhere(writers[index])}"
    )
    return Violation("unread-rewrite", task, name, text)


def _elsewhere(write: Write) -> str:
    """How a task can write to another key."""
    return '.into("...")' if write.field is None else f'.writing({write.field}="...") or .into("...")'


def _key(checker: Checker, key: str) -> str:
    return checker.graph.key_names.get(key, key)


def _task(checker: Checker, index: int, read: Read) -> str:
    """The task to blame for a read: that of a fan-out may be due to a task inside."""
    return read.task or checker.steps[index].task


def _reader(checker: Checker, index: int, read: Read) -> str:
    if read.task:
        return read.reader or f'Task "{read.task}"'
    step = checker.steps[index]
    return step.reader or f'Task "{step.task}"'


def _requires(checker: Checker, index: int, read: Read) -> str:
    key = _key(checker, read.key)
    return (
        f'{_reader(checker, index, read)} requires field "{key}" ({checker.types.show(read.type)}){_renamed(read, key)}'
    )


def _renamed(read: Read, key: str) -> str:
    return f" for {read.model}.{read.field}" if read.field != key else ""


def _is_input(checker: Checker, provider: int) -> bool:
    return provider == INPUT or checker.steps[provider].entry


def _provider(checker: Checker, index: int, provider: int) -> str:
    return _input(checker, index) if _is_input(checker, provider) else f'"{checker.steps[provider].task}"'


def _entry(checker: Checker, index: int) -> int:
    """The entry of the sealed graph that a step looks out of, INPUT if there is none."""
    return next(iter(checker.certainty.entry_around(index)), INPUT)


def _input(checker: Checker, index: int) -> str:
    """What comes into the graph around a step, ``""`` for nothing."""
    entry = _entry(checker, index)
    if entry == INPUT:
        return checker.graph.input_name
    reads = checker.steps[entry].reads
    return f"the sealed input {reads[0].model}" if reads else ""


def _ancestors(checker: Checker, index: int) -> list[int]:
    """The nearest ancestors that write anything, latest first; not those outside of a sealed graph."""
    entry, found, seen = _entry(checker, index), list[int](), {index}
    heap = [-index]
    while heap and len(seen) <= SEARCHED:
        step = -heappop(heap)
        if step != index and checker.steps[step].writes:
            found.append(step)
        for pred in _before(checker, step, index):
            if pred > entry and pred not in seen:
                seen.add(pred)
                heappush(heap, -pred)
    return found


def _before(checker: Checker, step: int, index: int) -> tuple[int, ...]:
    """The predecessors of a step as seen from ``index``: of a sealed graph from outside, those of its entry."""
    entry = checker.steps[step].instead
    return checker.steps[step if entry is None or step == index else entry].preds


def _listed(names: Sequence[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    if len(quoted) > NAMED:
        quoted = [*quoted[:NAMED], f"{len(names) - NAMED} more"]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}" if len(quoted) > 1 else quoted[0]


def _provided_by_none(checker: Checker, index: int, ancestors: list[int]) -> str:
    source = _input(checker, index)
    if not ancestors:
        return f"neither {source} nor any task before it provides" if source else "nothing before it provides"
    listed = _listed([checker.steps[ancestor].task for ancestor in ancestors])
    if len(ancestors) == 1:
        return f"neither {source} nor its ancestor {listed} provides" if source else f"its ancestor {listed} lacks"
    return f"neither {source} nor its ancestors {listed} provide" if source else f"its ancestors {listed} lack"


def _near_miss(checker: Checker, index: int, key: str, ancestors: list[int]) -> tuple[str, str] | None:
    sources: dict[str, str] = {}
    for name, source in _available(checker, index, ancestors):
        sources.setdefault(name, source)
    match = get_close_matches(key, sources, n=1, cutoff=0.6)
    return (match[0], sources[match[0]]) if match else None


def _available(checker: Checker, index: int, ancestors: list[int]) -> Iterator[tuple[str, str]]:
    """The fields that a step could read, and who provides each."""
    for ancestor in ancestors:
        for write in checker.steps[ancestor].writes:
            yield _key(checker, write.key), f'"{checker.steps[ancestor].task}"'
    entry = _entry(checker, index)
    writes = checker.graph.input.values() if entry == INPUT else checker.steps[entry].writes
    for write in writes:
        yield _key(checker, write.key), "the context around" if write.around else _input(checker, index)
