"""Restoring: what is stored about a run's finished attempts, read in the plan's order, gives the state that it had."""

from tests.machine.trials import Trial, replayed, walk


def agrees(trial: Trial) -> None:
    """Compare a run with what its rows amount to: statuses, skips, verdicts, counts, delays."""
    trial.agrees(replayed(trial.plan, trial.rows, trial.earlier))


def test_rows_amount_to_the_state_after_each_step() -> None:
    for seed in range(150):
        walk(seed, after=lambda trial: None if trial.demanded else agrees(trial))


def test_rows_amount_to_the_state_at_the_end() -> None:
    for seed in range(150, 300):
        trial = walk(seed)
        if not trial.demanded:
            stored = replayed(trial.plan, trial.rows, trial.earlier)
            trial.agrees(stored)
            assert stored.tasks == trial.state.tasks
            assert stored.unfinished == 0
