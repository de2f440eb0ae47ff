"""Programs cut down: the smallest that the two verdicts still differ on in the same way.

It knows syntax alone. Each round tries the cuts of a program, those that take most away first, many in one run of mypy,
and goes on with the shortest result that still differs. So a report shows what matters.
"""

from __future__ import annotations

import ast
import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tests.mypy.programs import Program

ROUNDS = 60
LISTS = ("body", "elts", "args", "kwonlyargs", "keywords", "decorator_list", "names")
EMPTIED = ("args", "kwonlyargs", "keywords")
AT_ONCE = 40  # programs in one run of mypy


def reduced(program: Program, differs: Callable[[Sequence[Program]], list[bool]]) -> Program:
    """Return a program that can't be cut further. ``differs`` says of each program whether it is still a case."""
    for _ in range(ROUNDS):
        options = sorted(set(cuts(program)), key=_size)
        kept = _kept([option for option in options if _size(option) < _size(program)], differs)
        if kept is None:
            break
        program = kept
    unseen = tuple((name, why) for name, why in program.unseen if name in program.text + program.parts)
    return replace(program, unseen=unseen)


def _kept(options: list[Program], differs: Callable[[Sequence[Program]], list[bool]]) -> Program | None:
    """The shortest that is still a case."""
    for start in range(0, len(options), AT_ONCE):
        some = options[start : start + AT_ONCE]
        for option, still in zip(some, differs(some), strict=True):
            if still:
                return option
    return None


def _size(program: Program) -> int:
    return len(program.text) + len(program.parts)


def cuts(program: Program) -> Iterator[Program]:
    """Yield the program with one thing less, and with the second half of its statements less, then a quarter..."""
    if program.parts:
        yield from _merged(program)
        for text in _texts(program.parts):
            yield replace(program, parts=text)
    for text in _texts(program.text):
        yield replace(program, text=text)


def _merged(program: Program) -> Iterator[Program]:
    """Both modules as one, where the first is imported by names."""
    lines = program.text.splitlines()
    rest = [line for line in lines if not line.startswith(("from .parts import", "from . import", "from __future__"))]
    if " as the_" not in program.text and "parts." not in program.text:
        yield Program("\n".join([program.parts, *rest, ""]), "", program.unseen)


def _texts(text: str) -> Iterator[str]:
    tree = ast.parse(text)
    for make in itertools.chain(_runs(tree), _inlined(tree), _inner(tree)):
        try:
            yield ast.unparse(make) + "\n"
        except (ValueError, TypeError):  # a cut that leaves no syntax
            continue


def _runs(tree: ast.Module) -> Iterator[ast.Module]:
    """Without a run of statements: a half of them, a quarter, ... a single one."""
    length = len(tree.body)
    step = max(length // 2, 1)
    while True:
        for start in range(0, length, step):
            body = tree.body[:start] + tree.body[start + step :]
            if body:
                yield ast.Module(body, [])
        if step == 1:
            return
        step //= 2


def _inlined(tree: ast.Module) -> Iterator[ast.Module]:
    """With a variable's value in its place."""
    for position, node in enumerate(tree.body):
        match node:
            case ast.Assign([ast.Name(name)], value) if not isinstance(value, ast.Lambda):
                changed = copy.deepcopy(tree)
                del changed.body[position]
                yield _Inliner(name, value).visit(changed)


class _Inliner(ast.NodeTransformer):
    def __init__(self, name: str, value: ast.expr) -> None:
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.value if node.id == self.name else node


def _inner(tree: ast.Module) -> Iterator[ast.Module]:
    """With one expression, item, argument or line of a class less."""
    for number, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            yield _set(tree, number, "value", None)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield _set(tree, number, "returns", ast.Constant(None))
        if isinstance(node, ast.ClassDef):
            yield _set(tree, number, "body", [ast.Pass()])
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                if name in LISTS and (len(value) > 1 or name in EMPTIED):
                    yield from (_without(tree, number, name, position) for position in range(len(value)))
                for position, item in enumerate(value):
                    yield from (_with(tree, number, name, position, short) for short in _shorter(item))
            elif isinstance(value, ast.AST):
                yield from (_set(tree, number, name, short) for short in _shorter(value))


def _shorter(node: object) -> Iterator[ast.expr]:
    """What may stand for an expression: its operands, the receiver of a call, the base of a subscript."""
    match node:
        case ast.BinOp(left, _, right):
            yield from (left, right)
        case ast.Call(ast.Attribute(receiver, _)) | ast.Call(receiver):
            yield receiver
        case ast.Subscript(_, ast.Tuple([first, *_])):
            yield first
        case ast.Subscript(ast.Tuple(items)):
            yield from items
        case ast.Subscript(base, inner):
            yield from (base, inner)
        case ast.List([only]) | ast.Tuple([only]) | ast.Starred(only):
            yield only


def _without(tree: ast.Module, number: int, name: str, position: int) -> ast.Module:
    changed = copy.deepcopy(tree)
    del getattr(_nth(changed, number), name)[position]
    return changed


def _with(tree: ast.Module, number: int, name: str, position: int, node: ast.expr) -> ast.Module:
    changed = copy.deepcopy(tree)
    getattr(_nth(changed, number), name)[position] = node
    return changed


def _set(tree: ast.Module, number: int, name: str, value: object) -> ast.Module:
    changed = copy.deepcopy(tree)
    setattr(_nth(changed, number), name, value)
    return changed


def _nth(tree: ast.Module, number: int) -> ast.AST:
    return next(itertools.islice(ast.walk(tree), number, None))
