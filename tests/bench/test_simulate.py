from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.simulate import CACHED, MUTATION, QUERY, Machine, with_work
from bench.simulate import simulated as simulated_for

kinds = st.sampled_from([MUTATION, QUERY, CACHED])
machines = st.builds(Machine, cores=st.integers(1, 8), executors=st.integers(1, 8))
few = settings(max_examples=15)
simulated = partial(simulated_for, seconds=0.1)


@few
@given(costs=kinds, machine=machines, seed=st.integers(0, 9))
def test_a_seed_gives_the_same_again(costs, machine, seed):
    assert simulated(costs, machine, seed=seed) == simulated(costs, machine, seed=seed)


@few
@given(costs=kinds, machine=machines)
def test_nothing_is_faster_than_its_busiest_thread_or_all_cores(costs, machine):
    found = simulated(costs, machine)
    all_us = costs.loop + costs.executor + costs.generator + costs.commit_each
    slowest_us = max(
        costs.loop, costs.executor / machine.executors, costs.generator, all_us / machine.cores
    )
    assert 0 < found.rate <= 1.05 * 1e6 / slowest_us
    assert found.loop_busy <= 1.000001


@pytest.mark.parametrize("costs", [QUERY, CACHED])
def test_enough_cores_leave_the_loop_as_the_bound(costs):
    found = simulated(costs, Machine(cores=64, executors=64), clients=256)
    assert found.rate == pytest.approx(1e6 / costs.loop, rel=0.05)


def test_one_client_at_a_time_gets_what_one_operation_takes():
    found = simulated(QUERY, Machine(cores=8, executors=8), clients=1)
    assert found.rate == pytest.approx(
        1e6 / (QUERY.loop + QUERY.executor + QUERY.generator), rel=0.05
    )


def test_cores_carry_what_functions_compute_themselves():
    heavy = with_work(QUERY, 5000)
    few_cores = simulated(heavy, Machine(cores=2, executors=2))
    many_cores = simulated(heavy, Machine(cores=16, executors=16))
    assert many_cores.rate > 7 * few_cores.rate
