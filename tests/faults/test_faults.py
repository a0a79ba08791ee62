"""Every kind of fault at every kind of step of every command: nothing is lost, the next command goes on.

A sample; ZDIFFSYNC_FAULTS=all plays every step, as scripts/faults --long does.
"""

import os

import campaign
import pytest
import sim_doors
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from random_faults import RandomFaults
from scenarios import SCENARIOS

ALL = os.environ.get("ZDIFFSYNC_FAULTS") == "all"
EXAMPLES = int(os.environ.get("ZDIFFSYNC_EXAMPLES", "8"))


@pytest.fixture(autouse=True)
def doors(monkeypatch):
    sim_doors.open_doors(monkeypatch)


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_wherever_it_is_struck(name):
    with campaign.stage(name) as stage:
        every = list(campaign.faults(stage.counts))
        outcomes = [stage.play(each) for each in (every if ALL else campaign.sample(every, 1))]
    assert [each for each in outcomes if each.problems] == []
    assert {each.ending for each in outcomes} >= {"done", "failed", "killed"}


def test_nothing_is_lost_in_random_histories():
    RandomFaults.outcomes = []
    run_state_machine_as_test(
        RandomFaults,
        settings=settings(
            max_examples=EXAMPLES, derandomize="ZDIFFSYNC_EXAMPLES" not in os.environ,
            stateful_step_count=12, deadline=None, database=None, print_blob=True,
            phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    assert RandomFaults.outcomes
