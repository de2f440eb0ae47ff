"""The machine against the reference: random programs, several workers, some of them dead, in any order.

``trials`` says what must hold after each step; here Hypothesis chooses the steps, so that what it finds shrinks.
"""

from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.machine.programs import Scope, random_program
from tests.machine.trials import Trial

BOUNDED = settings(
    max_examples=100, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow], database=None
)
# The first kind shrinks, the second is more varied.
programs = st.one_of(
    st.builds(random_program, st.randoms(use_true_random=False)),
    st.integers(0, 2**32).map(lambda seed: random_program(Random(seed))),
)
picks = st.integers(0, 11)


class RunMachine(RuleBasedStateMachine):
    """One run, from its first worker to its end."""

    trial: Trial

    @initialize(program=programs, workers=st.integers(0, 3))
    def start(self, program: Scope, workers: int) -> None:
        self.trial = Trial(program)
        for _ in range(workers):
            self.trial.adopt()

    @rule()
    def adopt(self) -> None:
        self.trial.adopt()

    @rule(pick=picks)
    def adopt_late(self, pick: int) -> None:
        self.trial.adopt_late(pick)

    @rule()
    def restart(self) -> None:
        self.trial.restart()

    @rule(pick=picks, failing=st.booleans())
    def work(self, pick: int, failing: bool) -> None:
        """Begin what may start, and end something: with swarm testing, ``begin`` and ``succeed`` are rarely both on."""
        self.trial.begin(pick)
        self.trial.begin(pick)
        if failing:
            self.trial.fail(pick, True, 0.5)
        else:
            self.trial.succeed(pick, pick % 3 > 0)

    @rule(pick=picks)
    def begin(self, pick: int) -> None:
        self.trial.begin(pick)

    @rule(node=picks, lease=st.sampled_from((0, 0, 0, -1, 1)))
    def begin_any(self, node: int, lease: int) -> None:
        self.trial.begin_any(node, self.trial.lease + lease)

    @rule(pick=picks, verdict=st.booleans())
    def succeed(self, pick: int, verdict: bool) -> None:
        self.trial.succeed(pick, verdict)

    @rule(pick=picks, retryable=st.booleans(), chance=st.sampled_from((0.5, 0.0, 1.0)))
    def fail(self, pick: int, retryable: bool, chance: float) -> None:
        self.trial.fail(pick, retryable, chance)

    @rule(pick=picks, succeeded=st.booleans(), wrong=st.integers(0, 1))
    def report_again(self, pick: int, succeeded: bool, wrong: int) -> None:
        self.trial.report_again(pick, succeeded, wrong)

    @rule(pick=picks, lease=st.sampled_from((-1, -2, 1)), succeeded=st.booleans())
    def report_as(self, pick: int, lease: int, succeeded: bool) -> None:
        self.trial.report_as(pick, self.trial.lease + lease, succeeded)

    @rule(pick=picks, wrong=st.integers(0, 2))
    def put_back(self, pick: int, wrong: int) -> None:
        self.trial.put_back(pick, wrong)

    @rule(seconds=st.sampled_from((0.5, 1.0, 5.0)))
    def wait(self, seconds: float) -> None:
        self.trial.wait(seconds)

    @rule()
    def pause(self) -> None:
        self.trial.pause()

    @rule()
    def resume(self) -> None:
        self.trial.resume()

    @rule()
    def retry(self) -> None:
        self.trial.retry()

    @rule(dice=st.integers(1, 6))
    def cancel(self, dice: int) -> None:
        if dice == 6:
            self.trial.cancel()

    @rule(dice=st.integers(1, 6))
    def abandon(self, dice: int) -> None:
        if dice == 6:
            self.trial.abandon()

    def teardown(self) -> None:
        if hasattr(self, "trial"):
            self.trial.finish(lambda node: node % 3 == 1)


TestMachine = RunMachine.TestCase
TestMachine.settings = BOUNDED
