"""Which runs that some code has refused a session may try on PostgreSQL: texts of statements, and nothing else."""

from __future__ import annotations

from cloaca.stores.sql.tables import REFUSED


def served(refused: str) -> str:
    """Whether a session has a version of the workflow of ``run`` that is not among those that have refused it."""
    return (
        "EXISTS (SELECT 1 FROM {schema}.cloaca_session AS other, LATERAL json_each_text(other.serves::json) AS its "
        f"WHERE its.key = run.workflow AND strpos({refused}, its.value) = 0)"
    )


def found(rest: str) -> str:
    """Runs to try, for arrays of workflows and of the versions of them."""
    return (
        "unnest(?::text[], ?::text[]) AS mine(workflow, version), "
        "LATERAL (SELECT id, priority FROM {schema}.cloaca_run AS run "
        f"WHERE {REFUSED} AND run.workflow = mine.workflow AND (strpos(run.refused, mine.version) = 0 "
        f"OR (run.status = 'pending' AND NOT {served('run.refused')})) {rest}) AS waiting"
    )


WAITS = f"EXISTS (SELECT 1 FROM {found('LIMIT 1')})"
