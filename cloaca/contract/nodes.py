"""The front end of the contract at run time: it reads the algebra's nodes, and pydantic's models.

It decides nothing: it answers what ``front_ends`` asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel

from cloaca.algebra.branches import Decision
from cloaca.algebra.declarations import Signature
from cloaca.algebra.fanouts import Each
from cloaca.algebra.graphs import Predicate, Seal
from cloaca.algebra.guards import the_condition
from cloaca.algebra.models import model_name, row_of
from cloaca.algebra.rows import Row
from cloaca.algebra.signatures import Unresolved, row_problems, undefined
from cloaca.algebra.tasks import Task
from cloaca.algebra.waits import Sleep, Subflow, WaitFor
from cloaca.contract.assignability import assignable
from cloaca.contract.front_ends import Choice, Fanned, Inside, Waits
from cloaca.contract.lists import element_of, list_of
from cloaca.contract.notation import show
from cloaca.contract.steps import Types
from cloaca.errors import ContractError, Violation

Model = type[BaseModel]


class _Nodes:
    types: Final = Types(assignable, show, element_of, list_of)

    def opened(self, node: object) -> Inside | Fanned | Waits | Choice | None:
        if isinstance(node, Task):
            return None
        if isinstance(node, Decision):
            return Choice(node.predicate)
        if isinstance(node, Seal):
            return Inside(node.graph.structure, node.input, node.output)
        if isinstance(node, Each):
            return Fanned(node.graph.structure, node.over, node.into, node.limit)
        if isinstance(node, Sleep):
            return Waits("sleep")
        if isinstance(node, WaitFor):
            return Waits("wait", None, node.output)
        if isinstance(node, Subflow):
            return Waits("subflow", node.input, node.output, node.sure)
        raise TypeError(f"{node!r} is no node of the language")

    def signature(self, task: Task[Any, Any], name: str) -> tuple[Signature[Model] | None, Sequence[Violation]]:
        try:
            return task.signature, ()
        except ContractError as error:
            return None, error.violations
        except Unresolved as error:
            return None, [undefined(name, f'Task "{name}"', error)]

    def condition(self, predicate: Predicate, name: str) -> tuple[Model | None, Sequence[Violation]]:
        try:
            return predicate.model(name), ()
        except ContractError as error:
            return None, error.violations
        except Unresolved as error:
            return None, [undefined(name, the_condition(predicate.name, name), error)]

    def condition_name(self, predicate: Predicate) -> str:
        return predicate.name

    def row(self, model: Model) -> Row:
        return row_of(model)

    def model_name(self, model: Model) -> str:
        return model_name(model)

    def row_problems(self, model: Model, what: str, owner: str, who: str) -> Sequence[Violation]:
        return row_problems(model, what, owner, who)


NODES: Final = _Nodes()
