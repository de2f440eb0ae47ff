"""``cloaca db upgrade|current|check|doctor``: the tables themselves, in each schema or file of a database.

What is looked for and done, the stores know; this prints it, and says by the exit code what came of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rich.table import Table

from cloaca.cli.documents import Json, write_document
from cloaca.cli.refusals import Exit
from cloaca.cli.streams import data_stream, in_one_line, print_data, remark
from cloaca.errors import StoreUnavailable
from cloaca.runner import open_store, open_upkeep, url_of
from cloaca.stores.sql import revisions
from cloaca.stores.sql.upkeep import Finding, Report, State


def upgrade_tables(database: str | None, *, after_deployment: bool, as_json: bool) -> Exit:
    """Upgrade, and print what was reached. Raises CloacaError."""
    with data_stream() as out:
        reached = asyncio.run(open_upkeep(url_of(database)).upgrade(after_deployment=after_deployment))
        if as_json:
            write_document(out, {"places": [{"place": place, "reached": steps} for place, steps in reached]})
            return Exit.DONE
        for place, steps in reached:
            out.write(f"{in_one_line(place)}: {f'upgraded to {steps[-1]}' if steps else 'nothing to do'}\n")
    return Exit.DONE


def show_current(database: str | None, *, as_json: bool) -> Exit:
    """Print where each place stands. Raises CloacaError."""
    with data_stream() as out:
        states = asyncio.run(open_upkeep(_there(database)).states())
        if as_json:
            head, last = revisions.head(), revisions.last()
            write_document(out, {"head": head, "last": last, "places": [_state_document(each) for each in states]})
        elif states:
            _write_states(states, out)
        _remark_none(states)
    for state in states:
        if state.refusal is not None:
            remark(str(state.refusal))
    return Exit.UNAVAILABLE if any(state.refusal for state in states) else Exit.DONE


def check_tables(database: str | None, *, as_json: bool) -> Exit:
    """Print how the tables differ from those of this release. Raises CloacaError."""
    return _reported(database, thorough=False, as_json=as_json)


def examine(database: str | None, *, as_json: bool) -> Exit:
    """Print what ails a database. Raises CloacaError."""
    return _reported(database, thorough=True, as_json=as_json)


def _reported(database: str | None, *, thorough: bool, as_json: bool) -> Exit:
    with data_stream() as out:
        reports = asyncio.run(open_upkeep(_there(database)).reports(thorough=thorough))
        healthy = bool(reports) and all(_is_healthy(report) for report in reports)
        if as_json:
            write_document(out, {"ok": healthy, "places": [_report_document(each, thorough) for each in reports]})
        else:
            for report in reports:
                _write_report(report, out)
        _remark_none([report.state for report in reports])
    if not reports or any(report.state.refusal for report in reports):
        return Exit.UNAVAILABLE
    return Exit.DONE if healthy else Exit.FAILED


def _there(database: str | None) -> str:
    """Return the URL of a database. Raises StoreUnavailable if it is a file that is not there."""
    url = url_of(database)
    path = getattr(open_store(url), "path", None)
    if isinstance(path, Path) and not path.exists():
        raise StoreUnavailable(f"there is no database {path}: choose another path, or make it with `cloaca db upgrade`")
    return url


def _remark_none(states: Sequence[State]) -> None:
    if not states:
        remark("there are no tables of cloaca's here: `cloaca db upgrade` makes them, and so does a worker")


def _findings(report: Report) -> list[Finding]:
    """Return what a report says, and what the state itself is a reason to say."""
    return [*_of_state(report.state), *report.findings]


def _of_state(state: State) -> list[Finding]:
    upgrade = "run `cloaca db upgrade`, or start a worker of this release"
    if state.refusal is not None:
        return [Finding("revision", "problem", str(state.refusal), "do as it says")]
    if state.is_unversioned:
        fitting = f"there are tables without a revision, and they are those of {revisions.FIRST}"
        return [Finding("revision", "problem", fitting, f"{upgrade}: it takes them over")]
    if state.pending:
        missing = f"revision {', '.join(state.pending)} is still to come, found is {state.revision or 'none'}"
        return [Finding("revision", "problem", missing, upgrade)]
    if state.later:
        after = "once no worker of an older release is left, run `cloaca db upgrade --post-deploy`"
        return [Finding("revision", "advice", f"revision {', '.join(state.later)} waits for the deployment", after)]
    return []


def _is_healthy(report: Report) -> bool:
    return not any(finding.level == "problem" for finding in _findings(report))


def _state_document(state: State) -> Json:
    return {
        "place": state.place,
        "revision": state.revision,
        "state": state.said,
        "pending": list(state.pending),
        "post_deploy": list(state.later),
        "refusal": None if state.refusal is None else str(state.refusal),
    }


def _report_document(report: Report, thorough: bool) -> Json:
    found = [
        {"check": each.check, "level": each.level, "message": each.message, "remedy": each.remedy}
        for each in _findings(report)
    ]
    state = report.state
    document = {"place": state.place, "revision": state.revision, "state": state.said, "ok": _is_healthy(report)}
    return document | {"findings": found} | ({"facts": report.facts} if thorough else {})


def _write_states(states: Sequence[State], out: TextIO) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in ("PLACE", "REVISION", "HEAD", "STATE"):
        table.add_column(column, overflow="fold")
    for state in states:
        table.add_row(in_one_line(state.place), state.revision or "-", revisions.head(), state.said)
    print_data(out, table)


def _write_report(report: Report, out: TextIO) -> None:
    found = _findings(report)
    problems = sum(finding.level == "problem" for finding in found)
    said = "ok" if not problems else f"{problems} problem{'' if problems == 1 else 's'}"
    out.write(f"{in_one_line(report.state.place)}: revision {report.state.revision or 'none'}, {said}\n")
    for finding in found:
        out.write(f"  {finding.level} {finding.check}: {in_one_line(finding.message)}\n")
        out.write(f"    {in_one_line(finding.remedy)}\n")
    for name, value in report.facts.items():
        out.write(f"  {name}: {value}\n")
