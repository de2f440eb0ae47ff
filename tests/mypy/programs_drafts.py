"""What random programs do: models, tasks, graph expressions and workflows, most of them wrong by little.

A program is drawn along its own data flow, so that it would be right, but for the few faults that are committed where
there is a chance to. Whether it is right, and what is wrong with it, is for others to say: the two checks.

It leaves out what type checkers can't see and so can't agree on: two calls of one function that makes a graph (they are
equal at run time), a plain name returned as a declared ``Graph[In, Out]`` (mypy asks no plugin about it), a variable
bound again to another graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from tests.mypy.programs_models import Column, Columns, Pen
from tests.mypy.programs_types import INT, PLAIN, TABLE, FieldType, readable_as, unreadable_as


@dataclass(frozen=True)
class Known:
    """What is known of a context key where a task is drawn. ``sure``: who wrote it has surely run."""

    type: FieldType
    sure: bool = True
    fold: str = ""


Keys = Mapping[str, Known]
AND, SHIFT, ATOM = range(3)  # how tightly the outermost operator of an expression binds
LISTS = (*["[{}, {}]"] * 4, "({}, {})", "[*[{}], {}]", "[*({}, {})]", "[{}, [{}]]")
TAINTS = ("", "sealed", "opaque", "lost")  # the later, the less is seen


@dataclass(frozen=True)
class Expr:
    """An expression: what it writes, the outermost tasks in it that can be named again, and the models at its ends.

    ``parts`` are the operands of an overlay, or the tasks of a plain chain; ``lists`` says that it is no graph itself.
    """

    text: str
    level: int = ATOM
    writes: Keys = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    taint: str = ""
    first: str = ""
    last: str = ""
    parts: tuple[str, ...] = ()
    lists: bool = False
    lambdas: bool = True  # whether its first task has a model for a lambda

    def within(self, level: int) -> str:
        """The text, in parentheses if it binds less tightly."""
        return self.text if self.level >= level else f"({self.text})"


WORDS = ("sku", "amount", "total", "shelf", "label", "weight", "price", "status", "memo", "count", "order_id", "rate")
TASKS = ("fetch", "charge", "reserve", "ship", "audit", "quote", "pack", "notify", "refund", "invoice")
# What may be wrong, as often as it is to be tried: not every program has the chance.
FAULTS = (
    *("typo", "missing", "sibling"),
    *("type", "maybe", "rewrite", "conflict", "cycle") * 4,
    *("name", "input", "output") * 2,
    *("shared", "model"),
)
UNSURE_RULES = ("all_done", "any_success", "any_failed", "all_failed")
FOLDS = ("operator.add", "operator.add", "max")
RULES = ("none_failed", "all_success", *UNSURE_RULES)


class Draft(Pen):
    """One program while it is drawn."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        count = self.pick((0, 1, 1, 2, 2, 3, 3, 4))
        self.faults = [self.pick(FAULTS) for _ in range(count)]
        self.words = random.sample(WORDS, len(WORDS))
        self.names = random.sample(TASKS, len(TASKS))
        self.unseen: dict[str, str] = {}
        self.functions: list[tuple[str, Columns, Columns]] = []
        self.seals: set[str] = set()  # the expressions that are one, and so take no options
        self.inferred = ""  # the one model that the first tasks may read, if the input is to be inferred

    def commits(self, *kinds: str) -> str:
        """Return the first of ``kinds`` that is still to be committed, and take it off; ``""`` for none."""
        for kind in kinds:
            if kind in self.faults and self.chance(85):
                self.faults.remove(kind)
                return kind
        return ""

    def word(self) -> str:
        """A field name that isn't used yet."""
        return self.words.pop() if self.words else self.pick(WORDS)

    def type(self) -> FieldType:
        return self.pick(PLAIN if self.chance(45) else TABLE)

    # Rows

    def reads(self, keys: Keys, siblings: Keys) -> list[Column]:
        """What a task reads: some of what there is, and what it should not."""
        chosen = self.some(sorted(keys), 0 if self.chance(20) else 1, 3)
        columns = [self._read(key, keys[key]) for key in chosen]
        if fault := self.commits("typo", "missing", "type", "maybe", "sibling"):
            columns += self._wrong_read(fault, keys, siblings)
        unique = {column.at: column for column in columns}
        return list(unique.values())

    def _read(self, key: str, known: Known) -> Column:
        name = self.word() if self.words and self.chance(8) else key
        required = self.chance(75) if known.sure else self.chance(5)
        if known.fold:
            return Column(name, INT, required, self.pick(("", known.fold)), key)
        return Column(name, self.pick(readable_as(known.type)) if self.chance(40) else known.type, required, key=key)

    def _wrong_read(self, fault: str, keys: Keys, siblings: Keys) -> Iterator[Column]:
        unsure = [key for key in sorted(keys) if not keys[key].sure]
        if fault == "typo" and keys:
            key = self.pick(sorted(keys))
            yield Column(key + "s" if self.chance(50) else key[:-1], keys[key].type)
        elif fault == "type" and (typed := [key for key in sorted(keys) if unreadable_as(keys[key].type)]):
            key = self.pick(typed)
            yield Column(key, self.pick(unreadable_as(keys[key].type)), self.chance(70))
        elif fault == "maybe" and unsure:
            key = self.pick(unsure)
            yield Column(key, keys[key].type)
        elif fault == "sibling" and siblings:
            key = self.pick(sorted(siblings))
            yield Column(key, siblings[key].type)
        elif fault == "missing":
            yield Column(self.word(), self.type())
        else:
            self.faults.append(fault)  # another task may have the chance

    def writes(self, keys: Keys, siblings: Keys, read: list[Column]) -> list[Column]:
        """What a task writes: new keys, some that it has read, folded ones, and what it should not."""
        columns = [Column(self.word(), self.type(), self.chance(85)) for _ in range(self.pick((0, 1, 1, 2)))]
        columns += [
            Column(c.at, keys[c.at].type) for c in read if c.at in keys and not keys[c.at].fold and self.chance(15)
        ]
        folded = [key for key in sorted({**keys, **siblings}) if {**keys, **siblings}[key].fold]
        if folded and self.chance(50):
            columns.append(Column(folded[0], INT, fold={**keys, **siblings}[folded[0]].fold))
        elif self.chance(8):
            columns.append(Column(self.word(), INT, fold=self.pick(FOLDS)))
        if (fault := self.commits("rewrite", "conflict")) == "rewrite" and keys:
            columns.append(Column(self.pick(sorted(keys)), self.type()))
        elif fault == "conflict" and siblings:
            columns.append(Column(self.pick(sorted(siblings)), self.type()))
        elif fault:
            self.faults.append(fault)
        return list({column.name: column for column in columns}.values())

    # Tasks

    def leaf(self, keys: Keys, siblings: Keys, first: bool) -> Expr:
        """One task, as a new function or an old one under another name."""
        if self.commits("model"):
            return self._spoilt()
        if self.functions and not first and self.chance(10):
            return self._again()
        if not first and self.chance(10):
            return self._waiting(keys, siblings)
        if first and self.inferred:
            start = tuple(Column(key, known.type, known.sure) for key, known in keys.items())
            read, inputs = list(start), [self.inferred] * (bool(start) and not self.chance(8))
        else:
            read = self.reads(keys, siblings)
            inputs = self._models(read)
        wrote = self.writes(keys, siblings, read)
        name = self.name(self.names.pop() if self.names else self.pick(TASKS))
        output = self.model(f"{_title(name)}Out", tuple(wrote)) if wrote else "None"
        self.function(name, inputs, output, self._options())
        if not first and len(inputs) < 2 and self.chance(10):
            return self._child(name, inputs[0] if inputs else "", output, wrote)
        self.functions.append((name, tuple(read) if inputs else (), tuple(wrote)))
        return self._dressed(name, read if inputs else [], wrote, inputs[0] if len(inputs) == 1 else "", output)

    def _waiting(self, keys: Keys, siblings: Keys) -> Expr:
        """A timer, or a wait for a signal, under a name of its own or not."""
        name = self.name(self.names.pop() if self.names else self.pick(TASKS))
        wrote = self.writes(keys, siblings, [])
        named = f'.named("{name}")' if self.chance(80) else ""
        if not wrote or self.chance(30):
            return self._bound(Expr(f"sleep({self.random.randint(0, 2)}){named}", ATOM))
        timeout = ", timeout=3" if self.chance(30) else ""
        text = f"wait_for({self.model(f'{_title(name)}Out', tuple(wrote))}{timeout}){named}"
        if self.chance(30):
            return self._bound(Expr(f'{text}.into("{self.word()}")', ATOM))
        return self._bound(Expr(text, ATOM, {column.name: Known(column.type, fold=column.fold) for column in wrote}))

    def _child(self, name: str, first: str, output: str, wrote: list[Column]) -> Expr:
        """A child run of a workflow of one task."""
        text = f'subflow(Workflow("{name}_flow", {name})).named("{name}")'
        writes = {column.name: Known(column.type, fold=column.fold) for column in wrote}
        return self._bound(Expr(text, ATOM, writes, first=first, last=output))

    def _spoilt(self) -> Expr:
        name = self.broken(self.name("broken"))
        return Expr(name, tasks=(name,))

    def _again(self) -> Expr:
        """A function that is used already, as another node."""
        name, read, wrote = self.pick(self.functions)
        text = f'{name}.named("{self.name(name)}_again")'
        if wrote and self.chance(60):
            key = self.word()
            return self._bound(Expr(f'{text}.into("{key}")', lambdas=bool(read)))
        writes = {column.name: Known(column.type, fold=column.fold) for column in wrote}
        return self._bound(Expr(text, writes=writes, lambdas=bool(read)))

    def _models(self, columns: list[Column]) -> list[str]:
        """The models of the parameters by which a task reads ``columns``."""
        if not columns:
            return []
        if len(columns) == 1 or self.chance(75):
            return [self.model(f"{_title(self._next())}In", tuple(columns))]
        left, right = columns[:1], columns[1:]
        if self.chance(15):
            right = [*right, replace(left[0], required=not left[0].required)]
        return [self.model(f"{_title(self._next())}In", tuple(part)) for part in (left, right)]

    def _next(self) -> str:
        return self.names[-1] if self.names else "extra"

    def _options(self) -> str:
        kind = self.random.randint(0, 19)
        forms = {0: "()", 1: "(timeout=3)", 2: '(retry=Retry(attempts=2), tags=("slow",))', 3: '(name="{}")'}
        return forms.get(kind, "").format(self.pick(("first", "second", "third", "fetch")))

    def _dressed(self, name: str, read: list[Column], wrote: list[Column], first: str, output: str) -> Expr:
        """The task with the methods that rename what it reads and writes, its rule, its options."""
        text = name
        if renamed := {column.name: column.key for column in read if column.key and column.key != column.name}:
            text += f".reading({_keywords(renamed)})"
        writes = {column.name: Known(column.type, fold=column.fold) for column in wrote}
        plain = [column for column in wrote if not column.fold]
        if plain and self.chance(8):
            key = self.word()
            text += f'.writing({plain[0].name}="{key}")'
            writes[key] = writes.pop(plain[0].name)
        elif wrote and self.chance(5):
            text += f'.into("{self.word()}")'
            writes = {}
        if self.chance(5):
            text += ".with_options(timeout=3)" if self.chance(50) else f'.named("{name}_too")'
        if self.chance(8):
            known = [*(Column(c.at, c.type, c.required) for c in read), *(Column(c.name, c.type) for c in wrote)]
            text += f".compensate({self._closing_task('undo', known)})"
        if self.chance(12):
            text += self._handler(name, read, wrote, output)
        return self._bound(Expr(text, ATOM, writes, first=first, last=output, lambdas=bool(read)))

    def _closing_task(self, wanted: str, known: list[Column]) -> str:
        """A task of the epilogue, which reads some of what may be there, or what is not."""
        columns = {column.name: replace(column, fold="") for column in self.some(known, 0, min(2, len(known)))}
        if self.chance(25):
            missing = Column(self.word(), self.type(), self.chance(60))
            columns[missing.name] = missing
        name = self.name(f"{wanted}_{self._next()}")
        inputs = [self.model(f"{_title(name)}In", tuple(columns.values()))] if columns else []
        self.function(name, inputs, "None", "")
        return name

    def _callbacks(self, keys: Keys) -> Iterator[str]:
        known = [Column(key, each.type, self.chance(60)) for key, each in keys.items()]
        for argument in ("on_success", "on_failure", "on_cancel"):
            if self.chance(8):
                yield f"{argument}={self._closing_task('call', known)}"

    def _handler(self, name: str, read: list[Column], wrote: list[Column], output: str) -> str:
        """What stands in for a task: mostly something that fits."""
        columns = list(wrote)
        if wrote and self.chance(20):
            columns[0] = replace(columns[0], type=INT if columns[0].fold else self.type())
        if self.chance(20):
            columns = columns[1:] if self.chance(50) else [*columns, Column(self.word(), self.type())]
        handler = self.name(f"{name}_handler")
        inputs = self._models([replace(c, name=c.at, key="") for c in read[:1]]) if self.chance(60) else []
        inputs += ["TaskFailure"] * self.chance(50)
        written = (
            output if columns == wrote else self.model(f"{_title(handler)}Out", tuple(columns)) if columns else "None"
        )
        self.function(handler, inputs, written, "")
        return f".rescue({handler})"

    def _bound(self, made: Expr) -> Expr:
        """Give a task with methods a name, or leave it as it stands."""
        text, writes = made.text, made.writes
        rule = self.pick(RULES) if self.chance(25 if "maybe" in self.faults else 7) else ""
        if rule:
            text += f'.on("{rule}")'
            writes = _unsure(writes) if rule in UNSURE_RULES[1:] else writes
        if "." in text and self.chance(45):
            text = self.state(3, self.name("step"), text)
            self.statements[-1] = (3, text, f"{text} = {made.text}" + (f'.on("{rule}")' if rule else ""))
        return replace(made, text=text, writes=writes, tasks=(text,))

    # Graphs

    def expression(self, size: int, keys: Keys, siblings: Keys, first: bool) -> Expr:
        """An expression over ``size`` tasks."""
        if self.chance(7):
            made = self._sealed(size, keys, first)
        elif not first and self.chance(9):
            made = self._each(size, keys)
        elif size == 1:
            made = self.leaf(keys, siblings, first)
        else:
            made = self._composite(size, keys, siblings, first)
        if self.chance(40 if "maybe" in self.faults else 10):
            made = self._when(made, keys)
        elif self.chance(4):
            made = self._branch([made, Expr("Graph()")], keys)
        return self._stored(made)

    def _composite(self, size: int, keys: Keys, siblings: Keys, first: bool) -> Expr:
        sizes: list[int] = []
        while size:
            sizes.append(self.random.randint(1, size if sizes else size - 1))
            size -= sizes[-1]
        if len(sizes) == 2 and self.chance(25):
            return self._branch([self.expression(part, keys, siblings, first) for part in sizes], keys)
        if self.chance(40 if "conflict" in self.faults else 65):
            return self._series(sizes, keys, siblings, first)
        return self._overlay(sizes, keys, siblings, first)

    def _series(self, sizes: list[int], keys: Keys, siblings: Keys, first: bool) -> Expr:
        parts: list[Expr] = []
        for size in sizes:
            part = self.expression(size, keys, siblings, first and not parts)
            keys = {**keys, **part.writes}
            parts.append(part)
        begins = self.chance(50)  # two lists have no operator between them: one of the first two may be one
        parts = [self._operand(part, lists=(number == 0) == begins or number > 1) for number, part in enumerate(parts)]
        texts = [part.text for part in parts]
        chain = tuple(texts) if all(part.tasks == (part.text,) for part in parts) else ()
        return Expr(
            " >> ".join(texts),
            SHIFT,
            {key: known for part in parts for key, known in part.writes.items()},
            tuple(task for part in parts for task in part.tasks),
            _worst(parts),
            parts[0].first,
            parts[-1].last,
            chain,
            lambdas=parts[0].lambdas,
        )

    def _operand(self, part: Expr, lists: bool) -> Expr:
        """An operand of ``>>``: an overlay as a list, a tuple, a list with stars; or with its operator."""
        if part.level == AND and lists and self.chance(4):
            name = self.name("several")
            return self._stated(replace(part, taint="lost"), name, f"{name} = [{', '.join(part.parts)}]", name)
        if part.level == AND and lists and self.chance(85):
            return replace(part, text=self.pick(LISTS).format(part.parts[0], ", ".join(part.parts[1:])))
        if part.level == AND or (part.level == SHIFT and (part.text[0] in "[(" or self.chance(60))):
            return replace(part, text=f"({part.text})")
        return part

    def _overlay(self, sizes: list[int], keys: Keys, siblings: Keys, first: bool) -> Expr:
        parts: list[Expr] = []
        for size in sizes:
            part = self.expression(size, keys, siblings, first)
            siblings = {**siblings, **part.writes}
            parts.append(part)
        return Expr(
            " & ".join(part.within(SHIFT) for part in parts),
            AND,
            {key: known for part in parts for key, known in part.writes.items()},
            tuple(task for part in parts for task in part.tasks),
            _worst(parts),
            parts=tuple(part.within(SHIFT) for part in parts),
            lambdas=all(part.lambdas for part in parts),
        )

    def _predicate(self, keys: Keys) -> str:
        read = self.reads({key: known for key, known in keys.items() if not known.fold}, {})
        model = self.model("Question", tuple(replace(column, name=column.at, key="") for column in read[:2]))
        predicate = self.name("is_large")
        self.state(2, predicate, f"def {predicate}(row: {model}) -> bool:\n    return True")
        return predicate

    def _branch(self, arms: list[Expr], keys: Keys) -> Expr:
        """One of two graphs; what both write is as sure as in either."""
        predicate = "lambda row: True" if self.chance(5) else self._predicate(keys)
        texts = [
            f"[{', '.join(arm.parts)}]" if arm.level == AND and arm.parts and self.chance(50) else arm.text
            for arm in arms
        ]
        text = f"branch({predicate}, then={texts[0]}, otherwise={texts[1]})"
        if self.chance(20):
            text += f'.named("{self.name("choice")}")'
        both = arms[0].writes.keys() & arms[1].writes.keys()
        writes = {
            key: replace(known, sure=known.sure and key in both) for arm in arms for key, known in arm.writes.items()
        }
        return Expr(text, ATOM, writes, (), _worst(arms), lambdas=True)

    def _when(self, made: Expr, keys: Keys) -> Expr:
        """The expression on a condition: a named predicate, or a lambda."""
        if (made.lambdas or self.chance(5)) and self.chance(30):
            predicate = "lambda row: True"
        else:
            predicate = self._predicate(keys)
        text = f"{made.within(ATOM)}.when({predicate})"
        return replace(made, text=text, level=ATOM, writes=_unsure(made.writes), tasks=(), parts=())

    def _sealed(self, size: int, keys: Keys, first: bool) -> Expr:
        """A sealed graph, inline or from a function that declares its rows."""
        names = self.some(sorted(keys), 1, 3)
        row = tuple(Column(key, keys[key].type, keys[key].sure) for key in names)
        if first and self.inferred and row:
            row = tuple(Column(key, known.type, known.sure) for key, known in keys.items())
        inside = {column.name: Known(column.type, column.required) for column in row}
        inferred, self.inferred = self.inferred, ""
        inner = self.expression(max(size, 1), inside, {}, first=False)
        self.inferred = inferred
        source = inferred if first and inferred and row else self.model("SealedIn", row) if row else "None"
        columns = self._outputs(inner.writes)
        target = self.model("SealedOut", columns) if columns else "None"
        text = f"{inner.within(ATOM)}.sealed({source}, {target})"
        writes = {column.name: Known(column.type, fold=column.fold) for column in columns}
        if self.chance(25) and not inner.taint:
            return self._declared(text, source, target, writes)
        if self.chance(30):
            text += f'.named("{self.name("half")}_{len(self.statements)}")'
        self.seals.add(text)
        # A type checker can't know that a function makes the same graph twice.
        return Expr(text, ATOM, writes, () if inner.taint else (text,), inner.taint, source, target, lambdas=bool(row))

    def _each(self, size: int, keys: Keys) -> Expr:
        """A task that lists, and a graph for each element of its list."""
        row = tuple(Column(name, self.type()) for name in {*self.some(sorted(keys), 0, 1), self.word()})
        element = self.model("Element", row)
        text = self.pick(("list[{}]", "list[{}]", "Sequence[{}]", "tuple[{}, ...]", "list[{} | None]", "set[{}]"))
        listed = self.type() if self.commits("type") else FieldType(text.format(element), "[]")
        over, into = self.word(), self.pick(sorted(keys)) if keys and self.commits("rewrite") else self.word()
        lister = self.name("listed")
        self.function(lister, [], self.model("Listed", (Column(over, listed),)), "")
        inside = {**keys, **{column.name: Known(column.type) for column in row}}
        inner = self.expression(size, inside, {}, first=False)
        asked = self.word() if self.commits("missing") else over
        fan = f'each({inner.text}, over="{asked}", into="{into}"{self.pick(("", "", ", limit=2"))})'
        tasks = (lister,) if inner.taint else (lister, fan)
        self.seals.add(fan)
        return Expr(f"{lister} >> {fan}", SHIFT, {}, tasks, inner.taint, lambdas=False)

    def _declared(self, text: str, source: str, target: str, writes: Keys) -> Expr:
        name = self.name("half")
        self._unsee(name, "declared")
        self.state(3, name, f"def {name}() -> Graph[{source}, {target}]:\n    return {text}")
        return Expr(f"{name}()", ATOM, writes, taint="sealed", first=source, last=target, lambdas=False)

    def _outputs(self, writes: Keys) -> Columns:
        """A row that is collected of ``writes``: fitting, but for a fault."""
        chosen = self.some(sorted(writes), 1, 3)
        columns = [
            Column(key, self._read_type(writes[key]), writes[key].sure and self.chance(80), writes[key].fold)
            for key in chosen
        ]
        if self.commits("output"):
            columns = [replace(column, required=True) for column in columns]
            if columns and self.chance(50):
                columns[0] = replace(columns[0], type=self.type(), fold="")
            else:
                columns.append(Column(self.word(), self.type()))
        return tuple(columns)

    def _read_type(self, known: Known) -> FieldType:
        return self.pick(readable_as(known.type)) if self.chance(30) and not known.fold else known.type

    def _stored(self, made: Expr) -> Expr:
        """The expression as it stands, or by another way to it: a variable, a tuple, a class, a function."""
        kind = self.random.randint(0, 99)
        if ("(" in made.text and kind < 25) or kind < 12:
            name = self.name("part")
            return self._stated(made, name, f"{name} = {made.text}", name)
        if kind < 30:
            name = self.name("pair")
            return self._stated(made, name, f'{name} = ("a tuple", {made.within(SHIFT)})', f"{name}[1]")
        if kind < 34:
            name = self.name("Flows")
            return self._stated(made, name, f"class {name}:\n    main = {made.text}", f"{name}.main")
        if kind < 36:
            return self._lost(made)
        # mypy asks no plugin about a plain name that is returned: only about an operator or a call.
        if (
            kind < 42
            and made.taint != "lost"
            and re.search(r"[(>&]", made.text)
            and {made.first, made.last}.isdisjoint(("", "None"))
        ):
            name = self.name("front")
            text = f"def {name}() -> Graph[{made.first}, {made.last}]:\n    return {made.text}"
            stored = self._stated(replace(made, taint="opaque", tasks=()), name, text, f"{name}()")
            self._unsee(name, "opaque" if made.taint else "declared")
            return stored
        return made

    def _lost(self, made: Expr) -> Expr:
        made = replace(made, taint="lost")
        if self.chance(50):
            name = self.name("untold")
            return self._stated(made, name, f"def {name}():\n    return {made.text}", f"{name}()")
        name = self.name("graphs")
        return self._stated(made, name, f"{name}: list[Any] = [{made.text}]", f"{name}[0]")

    def _stated(self, made: Expr, name: str, text: str, use: str) -> Expr:
        if made.taint:
            self._unsee(name, made.taint)
        self.state(3, name, text)
        tasks = made.tasks if use == name else ()
        self.seals |= {use} if made.text in self.seals else set()
        known = (use,) if made.tasks == (made.text,) else tasks
        return replace(made, text=use, level=ATOM, tasks=known, parts=())

    def _unsee(self, name: str, taint: str) -> None:
        self.unseen[name] = taint

    # Workflows

    def workflow(self, size: int) -> None:
        """A graph, closed: with the input and the output that it needs, and perhaps with more chains."""
        start = tuple(
            Column(self.word(), self.type(), self.chance(80), self.pick(FOLDS) if self.chance(6) else "")
            for _ in range(self.pick((0, 1, 1, 2, 3)))
        )
        start = tuple(replace(column, type=INT) if column.fold else column for column in start)
        model = self.model("Start", start) if start else ""
        declared = bool(model) and self.chance(60)
        self.inferred = "" if declared or not model else model
        keys = {c.name: Known(c.type, c.required, fold=c.fold) for c in start}
        made = self.expression(size, keys, {}, first=True)
        if self.commits("input"):
            declared = not declared and bool(model)
        arguments = [*self._arguments(made)]
        arguments += [f"input={model}"] if declared else []
        if self.chance(30) or "output" in self.faults:
            columns = self._outputs({**keys, **made.writes})
            arguments += [f"output={self.model('Answer', columns)}"] if columns else []
        arguments += self._callbacks({**keys, **made.writes})
        self._close("orders", arguments, made.taint)
        if made.tasks and not made.taint and self.chance(15):
            others = " >> ".join(dict.fromkeys(self.some(made.tasks, 1, 3)))
            more = [f"input={model}"] if model and self.chance(70) else []
            self._close("again", [others, *more], "")

    def _close(self, name: str, arguments: Iterable[str], taint: str) -> None:
        variable = self.name("workflow")
        if taint:
            self._unsee(variable, taint)
        self.state(3, variable, f'{variable} = Workflow("{name}", {", ".join(arguments)})')

    def _arguments(self, made: Expr) -> Iterator[str]:
        text, level = made.text, made.level
        if made.tasks and self.commits("shared"):
            text, level = f"{made.within(SHIFT)} >> {self.pick(made.tasks)}", SHIFT
        if made.level == AND and level == AND and self.chance(50):
            yield from made.parts
        elif level == SHIFT and len(made.parts) > 2 and text == made.text and self.chance(35):
            yield from (f"{one} >> {other}" for one, other in zip(made.parts, made.parts[1:], strict=False))
        else:
            yield text
        yield from self._more(made)

    def _more(self, made: Expr) -> Iterator[str]:
        """More chains over the same tasks."""
        if len(made.tasks) > 1 and self.commits("cycle"):
            yield f"{made.tasks[-1]} >> {self.pick(made.tasks[:-1])}"
        elif len(made.tasks) > 2 and self.chance(10):
            before, after = sorted(self.some(range(len(made.tasks)), 2, 2))
            yield f"{made.tasks[before]} >> {made.tasks[after]}"
        if made.tasks and self.commits("name"):
            one, other = self.pick(made.tasks), self.pick(made.tasks)
            others = [f'{one}.on("all_done")', f"{one}.when(lambda row: True)"]
            yield self.pick(others if one in self.seals else [*others, f"{one}.with_options(timeout=9)"])
            if one != other and self.chance(20):
                yield f"{one} >> {other}"


def _keywords(keys: Mapping[str, str]) -> str:
    return ", ".join(f'{name}="{key}"' for name, key in keys.items())


def _title(name: str) -> str:
    return name.title().replace("_", "")


def _unsure(writes: Keys) -> Keys:
    return {key: replace(known, sure=False) for key, known in writes.items()}


def _worst(parts: Iterable[Expr]) -> str:
    return max((part.taint for part in parts), key=TAINTS.index)
