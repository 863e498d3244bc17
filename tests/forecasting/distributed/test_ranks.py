"""What each of the processes of a training takes as its own; whole trainings are in `test_distributed_journey`."""

import random

import numpy as np
import pytest

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.distributed.ranks import Ranks, Share, check_strategy, devices


def shares(count, hosts, on_each=1, sharded=()):
    """The series of each process."""
    ranks = [
        Ranks(position, hosts, on_each, local, sharded=frozenset(sharded))
        for position in range(hosts)
        for local in range(on_each)
    ]
    found = [Share(list(range(count)), one) for one in ranks]
    assert [len(share) for share in found] == [len(list(share)) for share in found]
    return [list(share) for share in found]


@pytest.mark.parametrize(
    ("count", "hosts", "on_each", "expected"),
    [
        (5, 1, 1, [[0, 1, 2, 3, 4]]),
        (5, 2, 1, [[0, 2, 4], [1, 3]]),
        (5, 2, 2, [[0, 4], [1], [2], [3]]),
        (2, 3, 1, [[0], [1], [0]]),
        (1, 1, 2, [[0], [0]]),
    ],
)
def test_each_process_has_every_nth_series(count, hosts, on_each, expected):
    assert shares(count, hosts, on_each) == expected


def test_of_a_channel_that_is_sharded_each_host_has_all_that_it_read():
    assert shares(3, 2, sharded=["train"]) == [[0, 1, 2]] * 2
    assert shares(3, 2, 2, sharded=["train"]) == [[0, 2], [1]] * 2
    assert shares(3, 2, sharded=["test"]) == [[0, 2], [1]]


def test_a_share_is_that_of_the_process_in_which_it_is_asked():
    """It is made before the process is forked."""
    ranks = Ranks(devices=2)
    share = Share([1, 2, 3], ranks)
    assert list(share) == list(share) == [1, 3]
    ranks.local = 1
    assert list(share) == [2]


def test_an_epoch_is_the_same_work_for_any_number_of_processes():
    assert [Ranks(0, hosts).batches(50) for hosts in (1, 2, 3, 50, 100)] == [50, 25, 17, 1, 1]
    assert Ranks(0, 2, 4).batches(50) == 7


def numbers(ranks, local=0):
    """That a process draws first, with a parent that has drawn already."""
    found = []

    def process(_count, run):
        random.seed(5)
        np.random.seed(5)
        return run(local)

    ranks.on_devices = process
    ranks.run(lambda: found.extend([random.random(), np.random.random()]))
    return found


def test_random_numbers_differ_and_follow_from_the_seed(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "")
    first = numbers(Ranks(0, 2, seed=5))
    random.seed(5)
    np.random.seed(5)
    assert first == [random.random(), np.random.random()]
    assert numbers(Ranks(1, 2, seed=5)) == numbers(Ranks(0, 1, 2, seed=5), local=1) != first
    assert numbers(Ranks(1, 2, seed=2**32 - 1))
    assert numbers(Ranks(0, 1, 2), local=1) != numbers(Ranks(0, 1, 2), local=1)


def test_a_process_alone_is_left_as_it_is():
    assert Ranks().run(lambda: "trained") == "trained"
    assert Ranks().trainer({}) == {"devices": 1}
    assert Ranks().trainer({"devices": 4}) == {"devices": 1}
    assert Ranks().trainer({"devices": [3, 4]}) == {"devices": [3]}


@pytest.mark.torch
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 1),
        ({"devices": "auto"}, 1),
        ({"devices": -1, "accelerator": "gpu"}, 1),
        ({"devices": "auto", "accelerator": "cpu"}, 1),
        ({"devices": "3", "accelerator": "cpu"}, 3),
        ({"devices": 2}, 2),
        ({"devices": [0, 2, 3], "accelerator": "gpu"}, 3),
    ],
)
def test_the_devices_of_a_host_on_a_machine_without_accelerators(given, expected):
    assert devices(given) == expected


@pytest.mark.torch
def test_all_accelerators_are_used_unless_the_job_says_otherwise(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert devices({}) == devices({"accelerator": "gpu", "devices": "auto"}) == 4
    assert devices({"accelerator": "cpu"}) == 1
    assert devices({"devices": 2}) == 2


def test_strategies_that_are_none_of_several_processes_here():
    for name in (None, "auto", "ddp", "ddp_find_unused_parameters_true"):
        check_strategy({"strategy": name})
    with pytest.raises(ConfigurationError, match="hyperparameter 'strategy' is 'fsdp', expected"):
        check_strategy({"strategy": "fsdp"})
