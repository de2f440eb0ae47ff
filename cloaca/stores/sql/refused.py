"""Which runs that some code has refused a session may try on SQLite: texts of statements, and nothing else."""

from __future__ import annotations

from cloaca.stores.sql.tables import REFUSED


def served(refused: str) -> str:
    """Whether a session has a version of the workflow of ``run`` that is not among those that have refused it."""
    return (
        "EXISTS (SELECT 1 FROM cloaca_session, json_each(cloaca_session.serves) AS its "
        f"WHERE its.key = run.workflow AND instr({refused}, its.value) = 0)"
    )


# For a JSON object of versions by workflow. The planner would rather begin with the runs.
OPEN = (
    "json_each(?) AS mine CROSS JOIN cloaca_run AS run INDEXED BY cloaca_run_refused "
    f"WHERE {REFUSED} AND run.workflow = mine.key AND (instr(run.refused, mine.value) = 0 "
    f"OR (run.status = 'pending' AND NOT {served('run.refused')}))"
)
WAITS = f"EXISTS (SELECT 1 FROM {OPEN})"
FIND = f"SELECT run.id FROM {OPEN} ORDER BY run.priority DESC, run.id LIMIT ?"
