"""``cloaca check``: import targets, find their workflows, report every violation of the contract.

It runs no task. A module is imported, and a function that is declared to return a workflow and needs no argument is
called; what they raise is the report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

from cloaca.cli.against import Flight, in_flight
from cloaca.cli.documents import Json, write_document
from cloaca.cli.imports import user_code
from cloaca.cli.refusals import Exit, Refusal
from cloaca.cli.streams import complain, data_stream, printable
from cloaca.cli.targets import AnyWorkflow, Target, builders_of, load_module, named_workflow, workflows_of
from cloaca.cli.tracebacks import place_of
from cloaca.errors import ContractError, Violation


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation, with the place in the user's code that raised it, if one did."""

    target: str
    place: tuple[str, int] | None
    violation: Violation

    def __str__(self) -> str:
        where = f"{self.place[0]}:{self.place[1]}" if self.place else self.target
        return f"{where}: {' '.join(str(self.violation).splitlines())}"


@dataclass(slots=True)
class Report:
    """What a check has found in all its targets."""

    workflows: list[tuple[str, AnyWorkflow]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    refusals: list[tuple[str, Refusal]] = field(default_factory=list)
    flight: Flight | None = None

    def add(self, target: str, workflow: AnyWorkflow) -> None:
        """Count a workflow that is in order, once, however many modules import it."""
        if all(workflow != known for _, known in self.workflows):
            self.workflows.append((target, workflow))

    @property
    def code(self) -> Exit:
        """The exit code: that of the first target that could not be checked; else whether there are violations, or runs
        that would be blocked."""
        if self.refusals:
            return max(refusal.code for _, refusal in self.refusals)
        if self.findings:
            return Exit.FAILED
        return Exit.BLOCKED if self.flight is not None and self.flight.stranded else Exit.DONE


def check(targets: Sequence[str], *, against: str | None = None, as_json: bool) -> Exit:
    """Check all targets, and the runs in flight of the database ``against``; return the exit code.

    Without all the workflows nothing can be said of runs, so that these are looked at only if all is in order.
    Raises CloacaError.
    """
    report = Report()
    with data_stream() as out:
        for target in dict.fromkeys(targets):
            _check_target(target, report)
        if against is not None and report.code is Exit.DONE:
            report.flight = asyncio.run(in_flight(against, [workflow for _, workflow in report.workflows]))
        _write(report, out, as_json)
    return report.code


def _check_target(text: str, report: Report) -> None:
    try:
        target = Target.parse(text)
        module = load_module(target)
        if target.name is not None:
            report.add(text, named_workflow(module, target))
            return
        values, builders = workflows_of(module), builders_of(module)
        if not values and not builders:
            raise Refusal(f'"{text}" has no workflow to check', "Name the module in which Workflow(...) is called.")
        for workflow in values.values():
            report.add(text, workflow)
    except ContractError as error:
        _note(text, error, report)
    except Refusal as refusal:
        report.refusals.append((text, refusal))
    else:
        for name in builders:
            _check_builder(f"{text}:{name}", getattr(module, name), report)


def _check_builder(text: str, builder: object, report: Report) -> None:
    assert callable(builder)  # a function of the user's
    try:
        with user_code(f"{text}()"):
            report.add(text, builder())
    except ContractError as error:
        _note(text, error, report)
    except Refusal as refusal:
        report.refusals.append((text, refusal))


def _note(text: str, error: ContractError, report: Report) -> None:
    place = place_of(error)
    found = {finding.violation for finding in report.findings}
    report.findings += (Finding(text, place, violation) for violation in error.violations if violation not in found)


def _write(report: Report, out: TextIO, as_json: bool) -> None:
    for text, refusal in report.refusals:
        complain(f"{text}: {refusal.message}", *refusal.details)
    if as_json:
        write_document(out, document_of(report))
        return
    for finding in report.findings:
        out.write(f"{printable(str(finding))}\n")
    for line in [line for stranded in report.flight.stranded for line in stranded.lines()] if report.flight else []:
        out.write(f"{printable(line)}\n")
    out.write(f"{_summary(report)}\n")


def document_of(report: Report) -> Json:
    """Return what ``check --json`` prints: ``ok``, ``workflows``, ``violations``, ``errors``; of a database, too,
    ``in_flight`` and ``stranded``."""
    return {
        "ok": report.code is Exit.DONE,
        "workflows": [{"target": t, "name": w.name, "version": w.version} for t, w in report.workflows],
        "violations": [_finding_document(finding) for finding in report.findings],
        "errors": [
            {"target": t, "message": r.message, "details": list(r.details), "code": int(r.code)}
            for t, r in report.refusals
        ],
        **({} if report.flight is None else _flight_document(report.flight)),
    }


def _flight_document(flight: Flight) -> dict[str, Json]:
    return {"in_flight": flight.number, "stranded": [stranded.document() for stranded in flight.stranded]}


def _finding_document(finding: Finding) -> Json:
    file, line = finding.place or (None, None)
    violation = finding.violation
    return {
        "target": finding.target,
        "file": file,
        "line": line,
        "code": violation.code,
        "task": violation.task,
        "field": violation.field,
        "message": violation.message,
    }


def _summary(report: Report) -> str:
    checked = _counted(len(report.workflows), "workflow")
    if report.flight is not None:
        runs = f"{_counted(report.flight.number, 'run')} in flight"
        if report.flight.stranded:
            return f"{len(report.flight.stranded)} of {runs} could not be finished, {checked} without violations"
        return f"ok: {checked}, no violations; {runs}, all can be finished"
    if report.code is Exit.DONE:
        return f"ok: {checked}, no violations"
    problems = [_counted(len(report.findings), "violation")] if report.findings else []
    problems += [f"{_counted(len(report.refusals), 'target')} not checked"] if report.refusals else []
    return ", ".join([*problems, f"{checked} without violations"])


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
