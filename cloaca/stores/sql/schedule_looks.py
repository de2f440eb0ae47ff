"""What a look finds of schedules: firings that wait for somebody, and when the first schedule is due."""

from cloaca.ports import MOST_HANDOVERS

# Values: a session, and twice workflows.
LOOK = (
    "EXISTS (SELECT 1 FROM cloaca_firing AS f INDEXED BY cloaca_firing_open WHERE f.state = 'claimed' "
    f"AND f.owner IS NOT ? AND f.attempts < {MOST_HANDOVERS} AND f.workflow IN (SELECT value FROM json_each(?)) "
    "AND NOT EXISTS (SELECT 1 FROM cloaca_session WHERE id = f.owner)), "
    "(SELECT min(first) FROM (SELECT (SELECT min(due_at) FROM cloaca_schedule INDEXED BY cloaca_schedule_due "
    "WHERE due_at IS NOT NULL AND workflow = wanted.value) AS first FROM json_each(?) AS wanted))"
)

POSTGRES_LOOK = (
    "EXISTS (SELECT 1 FROM {schema}.cloaca_firing AS f WHERE f.state = 'claimed' "
    f"AND f.owner IS DISTINCT FROM ?::int8 AND f.attempts < {MOST_HANDOVERS} AND f.workflow = ANY(?::text[]) "
    "AND NOT EXISTS (SELECT 1 FROM {schema}.cloaca_session WHERE id = f.owner)), "
    "(SELECT min(first.at) - {now} FROM unnest(?::text[]) AS wanted(workflow), LATERAL (SELECT min(due_at) AS at "
    "FROM {schema}.cloaca_schedule WHERE due_at IS NOT NULL AND workflow = wanted.workflow) AS first)"
)
