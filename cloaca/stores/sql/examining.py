"""What may ail tables, asked by SQL that both databases understand; each finding says what to do about it.

It reads only. What only one kind of database can tell is in ``sqlite_upkeep`` and ``postgres_upkeep``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from sqlalchemy import Connection, text

from cloaca.stores.sql.pruning import OF_RUNS
from cloaca.stores.sql.revisions import last
from cloaca.stores.sql.structure import declared, differences
from cloaca.stores.sql.upkeep import Finding, State

FINAL = "('succeeded', 'failed', 'cancelled')"
LONG_AGO_S = 45 * 86_400.0  # half as long again as runs are kept, unless somebody says otherwise
HANDOVER_S = 3600.0
SHOWN = 3


class Question(NamedTuple):
    """A statement that finds what should not be; its rows begin with what to show.

    ``{}`` is where a schema's name goes, ``{now}`` the time. ``message`` and ``remedy`` have ``{n}`` for how many,
    ``{which}`` for some of them, ``{t}`` for what goes before a table's name.
    """

    check: str
    level: Literal["problem", "advice"]
    statement: str
    message: str
    remedy: str


WITHOUT_SESSION = "NOT EXISTS (SELECT 1 FROM {}cloaca_session AS s WHERE s.id = "
QUESTIONS = (
    Question(
        "lost-runs",
        "problem",
        "SELECT id FROM {}cloaca_run AS r "
        f"WHERE status = 'running' AND owner IS NOT NULL AND {WITHOUT_SESSION}r.owner)",
        "{n} runs are running and belong to a worker that is not there: {which}",
        "no worker will take them by itself; once none is at work, UPDATE {t}cloaca_run SET status = 'pending', "
        "owner = NULL WHERE id IN ({which})",
    ),
    Question(
        "dead-workers",
        "advice",
        "SELECT name FROM {}cloaca_session WHERE expires_at < {now} - 60",
        "{n} workers have been silent for a minute longer than their lease: {which}",
        "start a worker, or look whether one is at work: any takes their runs over at once",
    ),
    Question(
        "runs-without-plan",
        "problem",
        "SELECT id FROM {}cloaca_run AS r WHERE NOT EXISTS (SELECT 1 FROM {}cloaca_plan AS p WHERE p.digest = r.plan)",
        "{n} runs have a plan that is not stored: {which}",
        "restore cloaca_plan from a backup; or cancel those that have not ended with `cloaca runs cancel ID`",
    ),
    Question(
        "half-ended-runs",
        "problem",
        f"SELECT id FROM {{}}cloaca_run WHERE (status IN {FINAL}) <> (finished_at IS NOT NULL)",
        "{n} runs have a status that does not fit their end: {which}",
        "something else than cloaca has written to cloaca_run; restore these rows from a backup",
    ),
    Question(
        "lost-children",
        "problem",
        "SELECT id FROM {}cloaca_run AS r WHERE parent IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM {}cloaca_run AS p WHERE p.id = r.parent)",
        "{n} runs are children of a run that is not there, and are never pruned: {which}",
        "UPDATE {t}cloaca_run SET parent = NULL WHERE id IN ({which})",
    ),
    *(
        Question(
            f"orphans-in-{table}",
            "problem",
            f"SELECT run_id FROM {{}}{table} AS o WHERE run_id IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM {}cloaca_run AS r WHERE r.id = o.run_id)",
            f"{{n}} rows of {table} are of a run that is not there: {{which}}",
            f"DELETE FROM {{t}}{table} WHERE run_id NOT IN (SELECT id FROM {{t}}cloaca_run)",
        )
        for table in OF_RUNS
    ),
    Question(
        "lost-slots",
        "problem",
        f"SELECT queue FROM {{}}cloaca_slot AS o WHERE {WITHOUT_SESSION}o.session)",
        "{n} slots of queues belong to a worker that is not there: {which}",
        "DELETE FROM {t}cloaca_slot WHERE session NOT IN (SELECT id FROM {t}cloaca_session)",
    ),
    Question(
        "lost-attempts",
        "problem",
        f"SELECT run_id FROM {{}}cloaca_attempt AS o WHERE {WITHOUT_SESSION}o.session)",
        "{n} attempts are shown that no worker makes: {which}",
        "DELETE FROM {t}cloaca_attempt WHERE session NOT IN (SELECT id FROM {t}cloaca_session)",
    ),
    Question(
        "late-firings",
        "advice",
        f"SELECT schedule FROM {{}}cloaca_firing WHERE state = 'claimed' AND NOT parked "
        f"AND claimed_at < {{now}} - {HANDOVER_S}",
        "{n} firings of schedules have waited for more than an hour to be handed over: {which}",
        "start a worker that has their workflows: it hands them over",
    ),
    Question(
        "blocked-runs",
        "advice",
        "SELECT id FROM {}cloaca_run WHERE status = 'blocked'",
        "{n} runs are blocked: {which}",
        "`cloaca runs show ID` says why; deploy code that has what they need, or retry, fork or cancel them",
    ),
    Question(
        "old-runs",
        "advice",
        f"SELECT id FROM {{}}cloaca_run WHERE finished_at < {{now}} - {LONG_AGO_S} AND parent IS NULL",
        "{n} runs ended more than 45 days ago and are still there: {which}",
        "if that is not meant, give the workers a --retention, or `cloaca db prune --older-than 30d`",
    ),
)  # fmt: skip


def structural(connection: Connection, schema: str | None, state: State) -> Iterator[Finding]:
    """What the tables lack, or have too much. What will go after the deployment is not too much."""
    how = "restore it from a backup, or make it again: the reference of the tables says what it was"
    for difference in differences(connection, declared(schema), schema):
        if not difference.extra:
            yield Finding("structure", "problem", difference.sentence, how)
        elif not state.later and state.revision == last():
            yield Finding("structure", "advice", difference.sentence, "drop it, unless you have made it yourself")


def general(connection: Connection, schema: str | None, clock: str) -> Iterator[Finding]:
    """What both kinds of database can be asked."""
    prefix = "" if schema is None else connection.dialect.identifier_preparer.quote_identifier(schema) + "."
    for question in QUESTIONS:
        statement = question.statement.replace("{now}", clock).replace("{}", prefix.replace(":", "\\:"))
        counted = f"SELECT count(*) FROM ({statement}) AS found"
        count = connection.execute(text(counted)).scalar_one()
        if count:
            rows = connection.execute(text(f"{statement} LIMIT {SHOWN}"))
            which = ", ".join(str(row[0]) for row in rows) + (", ..." if count > SHOWN else "")
            said = {"n": count, "which": which, "t": prefix}
            message = question.message.format(**said)
            yield Finding(question.check, question.level, message, question.remedy.format(**said))
