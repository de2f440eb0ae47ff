"""What a site reads and writes, as the checker's steps say it: models become rows, under the keys of its scope.

It knows one site at a time, and the places of those that it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cloaca.algebra.declarations import Renames
from cloaca.algebra.guards import the_condition
from cloaca.contract import epilogues
from cloaca.contract.epilogues import EPILOGUE
from cloaca.contract.front_ends import FrontEnd, Model
from cloaca.contract.sites import Site
from cloaca.contract.steps import Read, Step, Write

NONE: Final[frozenset[int]] = frozenset()


class Accesses:
    """The reads and writes of one graph's sites. ``key_names`` says what a key of a sealed graph is called in it."""

    def __init__(self, front_end: FrontEnd) -> None:
        self.front_end = front_end
        self.key_names: dict[str, str] = {}
        self.rows: dict[object, tuple[Read, ...]] = {}
        self.written: dict[object, tuple[Write, ...]] = {}

    def step(self, site: Site, index: Mapping[str, int]) -> Step:
        preds = tuple(sorted([index[pred] for pred in site.preds if pred != site.rescues]))
        plain = not site.guards and len(site.awaited) == len(preds)  # then it looks at all that it waits for
        return Step(
            task=site.task,
            preds=preds,
            reads=self.reads_of(site),
            writes=self.writes_of(site),
            rule=site.rule,
            guards=tuple([index[guard] for guard in site.guards]),
            otherwise=frozenset([index[gate] for gate in site.otherwise]) if site.otherwise else NONE,
            awaited=preds if plain else tuple(sorted([index[pred] for pred in site.awaited])),
            rescues=None if site.rescues is None else index[site.rescues],
            decides=site.kind == "branch",
            instead=index[f"entry:{site.id}"] if site.kind == "exit" else None,
            entry=site.kind == "entry",
            closing=site.kind in ("exit", "end", "subflow"),
            reader=self.reader(site),
            elsewhere='another name, into="..."' if site.fan else "",
        )

    def reads_of(self, site: Site) -> tuple[Read, ...]:
        """What a site reads: a task its parameters, an exit and the end their row, from their own scope."""
        if site.fan is not None and site.fan.resolved is not None:
            return site.fan.resolved.reads
        if site.kind in ("exit", "end"):
            return () if site.row is None else self.row_reads(site.row, site.within, ())
        if len(site.parameters) == 1:
            return self.row_reads(site.parameters[0].model, site.scope, site.renames)
        rows = (self.row_reads(parameter.model, site.scope, site.renames) for parameter in site.parameters)
        return tuple(read for row in rows for read in row)

    def row_reads(self, model: Model, scope: str, renames: Renames) -> tuple[Read, ...]:
        """The reads of one model. Many nodes share those under its own names, so they are made once."""
        if not renames and (model, scope) in self.rows:
            return self.rows[model, scope]
        keys, name = dict(renames), self.front_end.model_name(model)
        reads = [
            Read(self.key(scope, keys.get(field, field)), entry.type, entry.required, field, name)
            for field, entry in self.front_end.row(model).items()
        ]
        made = tuple(reads)
        if not renames:
            self.rows[model, scope] = made
        return made

    def writes_of(self, site: Site) -> tuple[Write, ...]:
        if site.fan is not None and site.fan.resolved is not None:
            return (site.fan.resolved.write,)
        if site.kind == "entry" and site.row is not None:
            return self.row_writes(site.row, site.within, (), optional=True)
        if site.kind == "exit" and site.row is not None:
            return self.row_writes(site.row, site.scope, ())
        if site.output is None:
            return ()
        writes = self.row_writes(site.output, site.scope, site.writes)
        if site.whole:
            writes = (Write(self.key(site.scope, site.whole), site.output),)
        return writes if site.sure else tuple(write._replace(sure=False) for write in writes)

    def row_writes(self, model: Model, scope: str, renames: Renames, *, optional: bool = False) -> tuple[Write, ...]:
        """The writes of one model; with ``optional``, its fields with defaults may be left out."""
        if not renames and (model, scope, optional) in self.written:
            return self.written[model, scope, optional]
        keys = dict(renames)
        writes = [
            Write(
                self.key(scope, keys.get(field, field)),
                entry.type,
                entry.reducer,
                entry.required or not optional,
                field,
            )
            for field, entry in self.front_end.row(model).items()
        ]
        made = tuple(writes)
        if not renames:
            self.written[model, scope, optional] = made
        return made

    def key(self, scope: str, name: str) -> str:
        if not scope:
            return name
        self.key_names[scope + name] = name
        return scope + name

    def reader(self, site: Site) -> str:
        if site.kind in EPILOGUE:
            return epilogues.reader(site)
        if site.kind in ("gate", "branch"):
            return the_condition(self.front_end.condition_name(site.predicate), site.task)
        if site.kind == "subflow" and site.parameters:
            return f'The input {self.front_end.model_name(site.parameters[0].model)} of "{site.task}"'
        row = "" if site.row is None else self.front_end.model_name(site.row)
        if site.kind == "exit":
            return f'The output {row} of "{site.task}"'
        if site.kind == "end":
            return f'The output {row} of workflow "{site.task}"' if site.task else f"The declared output {row}"
        return ""
