"""The two verdicts on a program, and where they differ.

``run`` executes the text as Python does, statement by statement: a ``ContractError`` is its verdict on a statement,
and what needs a name that is missing because of that is dropped. ``judge`` has mypy read many programs at once. It does
not know how programs are made, nor what is right: it compares.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, Final, get_args

from cloaca.contract.workflows import Workflow
from cloaca.errors import ContractError
from tests.mypy.programs import Program

ROOT: Final = Path(__file__).parents[2]
PLUGINS: Final = ("pydantic.mypy", "returns.contrib.mypy.returns_plugin", "cloaca.mypy")
PREFIX: Final = "cloaca-"
CONFESSION: Final = "a fault of its own"  # what the plugin says where it would have crashed
MODULES: Final = ("parts", "program")
# What a structure that is lost may still be: wrong at an operator, or at a decorator.
EARLY: Final = ("graph-cycle", "shared-task", "task-name", "task-model")
_CLOSING: Final[CodeType] = Workflow.__init__.__code__
# What a fan-out can't have inside is refused before anything else is checked, if it is seen.
_UNFIT_INSIDE = re.compile("says nothing of the element|can't have a compensation")
_INSIDE: Final = re.compile(r'(Tasks? "[^" ]+/|The condition (.+? )?of task "[^" ]+/|The output .+? of ")')
_LINE: Final = re.compile(
    r"(?P<path>[^:]+)\.py:(?P<line>\d+)(?::\d+)?: (?P<kind>error|note): (?P<text>.*?)(?:  \[(?P<code>[\w-]+)\])?$"
)


@dataclass(frozen=True, order=True)
class Finding:
    """One error, of either side: its code (mypy's own have no prefix), and its text."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.text}  [{self.code}]"


@dataclass(frozen=True, order=True)
class Place:
    """A statement of a program: its module, and its first line."""

    module: str
    line: int


@dataclass(frozen=True)
class Statement:
    """A statement, and the names that it binds."""

    place: Place
    last: int
    names: frozenset[str]
    node: ast.stmt


@dataclass
class Ran:
    """What running a program says, by statement. ``early``: raised before a graph was closed; ``dropped``: not run."""

    found: dict[Place, set[Finding]] = field(default_factory=dict)
    declared: dict[Place, set[Finding]] = field(default_factory=dict)  # of a ``-> Graph[In, Out]``, by its own rows
    early: set[Place] = field(default_factory=set)
    dropped: set[Place] = field(default_factory=set)


@dataclass(frozen=True)
class Difference:
    """A program on which the two differ. ``kinds``: which side says what in excess, without the particulars."""

    program: Program
    unsaid: tuple[Finding, ...]
    unfounded: tuple[Finding, ...]

    @property
    def kinds(self) -> frozenset[tuple[str, str]]:
        """Each side that says something alone, with its code."""
        alone = [("run time", self.unsaid), ("mypy", self.unfounded)]
        return frozenset((side, finding.code) for side, findings in alone for finding in findings)

    def __str__(self) -> str:
        lines = [f"only at run time: {finding}" for finding in self.unsaid]
        lines += [f"only in mypy:     {finding}" for finding in self.unfounded]
        return "\n".join([str(self.program).rstrip(), *(f"#> {line}" for line in lines), ""])


def statements(text: str, module: str) -> list[Statement]:
    """Return the statements of a module, in order."""
    return [_statement(node, module) for node in ast.parse(text).body]


def _statement(node: ast.stmt, module: str) -> Statement:
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return Statement(Place(module, first), node.end_lineno or first, frozenset(_bound(node)), node)


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    elif isinstance(node, ast.Assign):
        yield from (name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name))


# Run time


def run(program: Program, package: str) -> Ran:
    """Execute a program as the modules of ``package``, and forget them again."""
    ran = Ran()
    modules = {name: ModuleType(f"{package}.{name}") for name in MODULES}
    parent = ModuleType(package)
    parent.__path__ = []
    sys.modules[package] = parent
    try:
        for name, text in (("parts", program.parts), ("program", program.text)):
            sys.modules[f"{package}.{name}"] = modules[name]
            setattr(parent, name, modules[name])
            _run(text, name, modules[name], ran)
    finally:
        for name in (package, *(f"{package}.{name}" for name in MODULES)):
            sys.modules.pop(name, None)
    return ran


def _run(text: str, name: str, module: ModuleType, ran: Ran) -> None:
    module.__package__ = module.__name__.rpartition(".")[0]
    postponed = importlib.import_module("__future__").annotations.compiler_flag if "__future__" in text else 0
    missing = False
    for statement in statements(text, name):
        code = compile(ast.Module([statement.node], []), f"{name}.py", "exec", flags=postponed, dont_inherit=True)
        try:
            exec(code, vars(module))
            if isinstance(statement.node, ast.FunctionDef):
                _close_declared(statement, vars(module), ran)
        except ContractError as error:
            ran.found[statement.place] = _findings(error)
            if not _is_closing(error.__traceback__):
                ran.early.add(statement.place)
            missing = True
        except (NameError, AttributeError, ImportError):
            if not missing and not ran.found:
                raise
            ran.dropped.add(statement.place)


def _findings(error: ContractError) -> set[Finding]:
    return {Finding(PREFIX + each.code, each.message) for each in error.violations}


def _close_declared(statement: Statement, names: dict[str, object], ran: Ran) -> None:
    """Close what a function makes under the rows that it declares: ``-> Graph[In, Out]`` is checked as that."""
    rows = _declared_rows(statement.node, names)
    if rows is None:
        return
    try:
        graph = eval(f"{statement.node.name}()", names)  # type: ignore[attr-defined] # it is a function
        Workflow("declared", graph.sealed(*rows), input=rows[0], output=rows[1])
    except ContractError as error:
        ran.declared[statement.place] = _findings(error)
        if not _is_closing(error.__traceback__):
            ran.early.add(statement.place)


def _declared_rows(node: ast.stmt, names: dict[str, object]) -> tuple[Any, ...] | None:
    if not isinstance(node, ast.FunctionDef) or node.decorator_list or node.returns is None:
        return None
    match node.returns:
        case ast.Subscript(ast.Name("Graph"), ast.Tuple([_, _])):
            rows = get_args(eval(ast.unparse(node.returns), names))[:2]
            return tuple(None if row is type(None) else row for row in rows)
    return None


def _is_closing(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        if traceback.tb_frame.f_code is _CLOSING:
            return True
        traceback = traceback.tb_next
    return False


# mypy

Said = Mapping[Place, set[Finding]]


class Crash(Exception):
    """mypy did not come to an end."""


def judge(programs: Sequence[Program], folder: Path, batch: str, plugins: tuple[str, ...] = PLUGINS) -> list[Said]:
    """Return what mypy says of each program, by statement. ``batch`` must be new for each call with one ``folder``."""
    packages = [f"{batch}_{number}" for number in range(len(programs))]
    for package, program in zip(packages, programs, strict=True):
        _write(program, folder / package)
    said: dict[str, dict[Place, set[Finding]]] = {package: {} for package in packages}
    starts = {package: _starts(program) for package, program in zip(packages, programs, strict=True)}
    for path, line, finding in mypy(folder, packages, plugins):
        package, module = path.parts[-2], path.name
        place = starts[package].get((module, line), Place(module, line))
        said[package].setdefault(place, set()).add(finding)
    return [said[package] for package in packages]


def _write(program: Program, folder: Path) -> None:
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "program.py").write_text(program.text)
    if program.parts:
        (folder / "parts.py").write_text(program.parts)


def _starts(program: Program) -> dict[tuple[str, int], Place]:
    found = [*statements(program.parts, "parts"), *statements(program.text, "program")]
    return {(each.place.module, line): each.place for each in found for line in range(each.place.line, each.last + 1)}


def mypy(folder: Path, targets: Iterable[str], plugins: tuple[str, ...]) -> list[tuple[Path, int, Finding]]:
    """Run mypy, strict but for functions without annotations, over ``targets`` in ``folder``; return all errors."""
    config = folder / "mypy.ini"
    config.write_text(
        f"[mypy]\npython_version = 3.11\nmypy_path = {ROOT / 'typings'}:{ROOT}\n"
        "strict = True\nwarn_unreachable = True\n"
        "disallow_untyped_defs = False\ndisallow_incomplete_defs = False\ndisallow_untyped_calls = False\n"
        f"plugins = {', '.join(plugins)}\n"
        "[pydantic-mypy]\ninit_forbid_extra = True\ninit_typed = True\nwarn_required_dynamic_aliases = True\n"
    )
    command = ["-m", "mypy", "--config-file", str(config), "--cache-dir", str(folder / ".mypy_cache"), *targets]
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode not in (0, 1) or "INTERNAL ERROR" in done.stdout + done.stderr:
        raise Crash(done.stdout[-2000:] + done.stderr[-6000:])
    found = [match for line in done.stdout.splitlines() if (match := _LINE.match(line))]
    found = [match for match in found if match["kind"] == "error" or CONFESSION in match["text"]]
    return [(Path(each["path"]), int(each["line"]), Finding(each["code"] or "note", each["text"])) for each in found]


# Comparison


def compare(program: Program, ran: Ran, said: Said) -> Difference | None:
    """Return where the two differ on a program, None if they don't."""
    unseen = _unseen(program)
    expected = _all(findings for place, findings in ran.found.items() if place not in unseen)
    ours = _all({f for f in found if _counts(place, f, unseen)} for place, found in said.items())
    free = ran.early | ran.dropped  # Python has stopped short there, so mypy may say more
    unsaid = [*(expected - ours).elements(), *_half_seen(ran, said, unseen, set())]
    unfounded = list((ours - expected - _all(said.get(place, set()) for place in free)).elements())
    unfounded += _half_seen(ran, said, unseen, free, more=True)
    if not free:
        unfounded += [finding for found in said.values() for finding in found if not _is_ours(finding)]
    if not unsaid and not unfounded:
        return None
    return Difference(program, tuple(sorted(unsaid)), tuple(sorted(unfounded)))


def _all(findings: Iterable[set[Finding]]) -> Counter[Finding]:
    return Counter(finding for found in findings for finding in found)


def _half_seen(
    ran: Ran, said: Said, unseen: Mapping[Place, str], free: Collection[Place], *, more: bool = False
) -> Iterator[Finding]:
    """What one side says alone where a function declares its result, by codes: the node has another name there.

    Without ``more`` it is what mypy lacks, with it what it has in excess.
    """
    # What raises early does so inside of the function, if not in the statement itself.
    early = {place for place, found in ran.found.items() if any(_UNFIT_INSIDE.search(f.text) for f in found)}
    sealed = {place for place, why in unseen.items() if why == "sealed" and place not in ran.early | early}
    groups = [({place}, ran.declared) for place, why in unseen.items() if why == "declared"]
    for places, found in [*groups, (sealed, ran.found)]:
        here, there = (
            _codes(places, found, inside=places is not sealed),
            _codes(places, said, inside=places is not sealed),
        )
        codes = there - here if more else here - there
        if not (more and free):
            yield from (Finding(code, "(in a declared Graph[In, Out])") for code in sorted(codes))


def _codes(places: Collection[Place], found: Said, *, inside: bool) -> set[str]:
    """The codes of the contract that are found at ``places``, with or without those ``inside`` of a sealed graph.

    Which of two writers in conflict is the latest depends on their names, and so does what is said of types.
    """
    findings = {f for place in places for f in found.get(place, ()) if _is_ours(f)}
    codes = {f.code for f in findings if inside or not _INSIDE.match(f.text)}
    return codes - {f"{PREFIX}field-type", f"{PREFIX}workflow-input"} if f"{PREFIX}write-conflict" in codes else codes


def _unseen(program: Program) -> dict[Place, str]:
    """The statements of which mypy sees less, and why."""
    why = dict(program.unseen)
    every = [*statements(program.parts, "parts"), *statements(program.text, "program")]
    return {each.place: why[name] for each in every for name in each.names if name in why}


def _counts(place: Place, finding: Finding, unseen: Mapping[Place, str]) -> bool:
    """Whether a finding of mypy's is to be compared: where the structure is lost, it should say nothing at closing."""
    why = unseen.get(place)
    if not _is_ours(finding):
        return False
    return why is None or (why == "lost" and finding.code.removeprefix(PREFIX) not in EARLY)


def _is_ours(finding: Finding) -> bool:
    return finding.code.startswith(PREFIX)
