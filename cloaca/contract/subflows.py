"""``subflow``: a run of another workflow as a node of a graph.

It knows workflows and nodes; how a child run is started and heard of is the interpreter's business.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import TypeVar

from cloaca.algebra.waits import Subflow
from cloaca.contract.messages import no_row
from cloaca.contract.workflows import Workflow
from cloaca.errors import ContractError, Violation

In = TypeVar("In")
Out = TypeVar("Out")


def subflow(workflow: Workflow[In, Out, Any, Any], /) -> Subflow[In, Out]:
    """Return a node that runs ``workflow`` as a child run, with an id of its own.

    It reads the workflow's input from the context, and writes the fields of its output. It has failed if the child run
    fails or is cancelled; the child's typed errors are then among the errors of the run. Cancelling a run cancels its
    child runs, retrying it retries those that failed. The node is named ``subflow:`` and the workflow's name.

    Raises:
        ContractError: ``workflow-input``: the workflow answers with its context, a dict, which is no row.
        TypeError: ``workflow`` is no workflow.

    >>> from cloaca import run, task
    >>> @task
    ... def charge() -> None:
    ...     print("charged")
    >>> shop = Workflow("shop", subflow(Workflow("payments", charge)))
    >>> print(shop.to_text())
    subflow:payments
    >>> run(shop, database="memory://")
    charged
    <Success: None>
    """
    if not isinstance(workflow, Workflow):
        raise TypeError(f"subflow({workflow!r:.80}): give a workflow: subflow(Workflow(name, graph))")
    name, answer = f"subflow:{workflow.name}", workflow.plan.answer
    if workflow.output is None and not answer.nothing:
        raise ContractError([Violation("workflow-input", name, "", no_row(workflow.name))])
    return Subflow(name, input=workflow.input, output=workflow.output, workflow=workflow, sure=not answer.optional)


def family(workflow: Workflow[Any, Any, Any, Any]) -> dict[str, Workflow[Any, Any, Any, Any]]:
    """Return a workflow and those of which its runs may start runs, and so on, by name."""
    found = {workflow.name: workflow}
    for node in workflow.plan.everywhere():
        if node.child is not None:
            found.update(family(node.child))
    return found
