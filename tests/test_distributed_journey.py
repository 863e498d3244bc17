"""Trainings on several hosts and devices: real processes, gloo, a small model, series that can be told apart."""

from __future__ import annotations

import json
import os
import re
import signal
import textwrap

import numpy as np
import pytest

from tests.several import NAMES, Forbidden, Job, ends, ip, namespaces

pytestmark = [pytest.mark.torch, pytest.mark.once]

JOB = {
    "forecaster_name": "telling.Telling",
    "freq": "D",
    "prediction_length": "4",
    "context_length": "8",
    "hidden_dimensions": "[4]",
    "num_batches_per_epoch": "4",
    "batch_size": "4",
    "epochs": "5",
    "seed": "7",
    "accelerator": "cpu",
}
# the series of a window is told by its values, which are near a multiple of 100; some time passes in each batch, so
# that a signal comes before the end
TELLING = """
    import os, time
    from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator
    from lightning.pytorch.callbacks import Callback

    class Teller(Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            series = sorted({int(one // 100) for one in batch["future_target"].amax(1)})
            windows = batch["future_target"].sum().item()
            name = f"{index} of epoch {trainer.current_epoch}"
            os.write(1, f"batch {name}: rank {trainer.global_rank} has {series} {windows}\\n".encode())
            time.sleep(float(os.environ.get("PAUSE", "0")))

    class Telling(SimpleFeedForwardEstimator):
        def train(self, training_data, validation_data=None, cache_data=False, ckpt_path=None):
            self.trainer_kwargs["callbacks"].append(Teller())
            return super().train(training_data, validation_data, cache_data=cache_data, ckpt_path=ckpt_path)
"""
SLOWLY = {"PAUSE": "0.05"}


@pytest.fixture
def hosts(start, tmp_path):
    (tmp_path / "site" / "telling.py").write_text(textwrap.dedent(TELLING))
    return Job(start, tmp_path)


def series(*numbers, length=40, **fields):
    draw = np.random.default_rng(3)
    return [
        {
            "item_id": str(number),
            "start": "2024-01-01",
            "target": (100 * number + 20 + draw.normal(size=length)).round(3).tolist(),
            **fields,
        }
        for number in numbers
    ]


SAME = {"train": series(1, 2, 3, 4, 5), "test": series(1, 2)}


def losses(said):
    """epoch -> train loss, as text"""
    found = re.findall(r"#quality_metric: host=\S+, epoch=(\d+), train loss <loss>=(\S+)", said)
    return dict(found)


def validation(said):
    """epoch -> validation loss"""
    found = re.findall(
        r"#quality_metric: host=\S+, epoch=(\d+), validation loss <loss>=(\S+)", said
    )
    return {epoch: float(loss) for epoch, loss in found}


def drawn(said, rank):
    """The series, and what tells the windows of each batch."""
    found = re.findall(rf"rank {rank} has \[(.*?)\] (\S+)", said)
    return {int(one) for names, _ in found for one in names.split(",")}, [one for _, one in found]


def until(process, text):
    said = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            return "".join(said)
    raise AssertionError(f"it ended before it said {text!r}: {''.join(said)}")


def contract(tree):
    return json.loads((tree.paths.model / "gluonts_shell.json").read_text())


def test_two_hosts_train_one_model_and_go_on_after_one_was_killed(hosts):
    validated = {**SAME, "validation": SAME["train"]}
    whole = ends(hosts(JOB, validated, validated))
    assert [status for status, _ in whole] == [0, 0], whole
    first, second = (said for _, said in whole)
    expected = losses(first)
    assert list(expected) == ["0", "1", "2", "3", "4"]
    assert losses(second) == expected
    assert drawn(first, 0)[0] == {1, 3, 5}
    assert drawn(second, 1)[0] == {2, 4}
    # an epoch has the four batches of the job, two on each host
    assert len(drawn(first, 0)[1]) == len(drawn(second, 1)[1]) == 10
    assert not set(drawn(first, 0)[1]) & set(drawn(second, 1)[1])
    one, other = hosts.trees
    assert contract(one)["stopped_early"] is False
    assert "#test_score (127.0.0.1, MASE): " in first
    assert not other.paths.model.exists()
    assert "#test_score" not in second

    # processes on the CPU stand for those on accelerators, which no test has; they are as good as hosts
    ((status, alone),) = ends(hosts({**JOB, "devices": "2"}, validated, hosts=1, folder="alone"))
    assert status == 0, alone
    assert losses(alone) == expected
    assert [drawn(alone, 0), drawn(alone, 1)] == [drawn(first, 0), drawn(second, 1)]
    assert alone.count("Epoch[0] train loss") == alone.count("Final loss") == 1

    # the mean over all series does not depend on who has how many of them
    shares = [{**SAME, "validation": one} for one in (SAME["train"][:1], SAME["train"][1:])]
    job = {**JOB, "checkpoint_every": "0"}
    again = hosts(job, *shares, sharded=["validation"], folder="again", **SLOWLY)
    told = until(again[0], "batch 1 of epoch 3")
    again[1].kill()
    ((status, said), _) = ends(again, 30)
    one, other = hosts.trees[-2:]
    assert status == 1, said
    assert one.reason == "host 127.0.0.2 is gone: its process ended without a word"
    assert not (one.paths.model / "gluonts_shell.json").exists()
    assert len(list(one.paths.checkpoints.iterdir())) == 2
    assert not other.paths.checkpoints.exists()

    resumed = ends(hosts.restarted())
    assert [status for status, _ in resumed] == [0, 0], resumed
    for _, rest in resumed:
        assert re.search(r"resuming at epoch [345] of 5", rest)
        # the same draws, and so the same losses as of a job that was not interrupted
        assert {**losses(told + said), **losses(rest)} == expected
        found = {**validation(told + said), **validation(rest)}
        assert found == pytest.approx(validation(first), rel=1e-4)
    assert contract(one)["stopped_early"] is False


def test_a_process_of_a_device_that_is_killed_ends_the_job(hosts):
    (process,) = hosts({**JOB, "devices": "2"}, SAME, hosts=1, **SLOWLY)
    until(process, "batch 0 of epoch 1")
    (child,) = children(process.pid)
    os.kill(child, signal.SIGKILL)
    ((status, _),) = ends([process], 30)
    assert status == 1
    found = "lost the process of its device 1, which was killed by signal 9, perhaps it was out of memory"
    assert hosts.trees[0].reason == f"host 127.0.0.1 {found}"


def children(pid):
    return [int(one) for one in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def test_a_host_that_hangs_ends_the_others(hosts):
    first, second = hosts(JOB, SAME, SAME, GLUONTS_SHELL_HOSTS_SILENCE="4", **SLOWLY)
    until(first, "batch 0 of epoch 1")
    os.kill(second.pid, signal.SIGSTOP)
    ((status, said),) = ends([first], 60)
    assert status == 1, said
    assert (
        hosts.trees[0].reason == "host 127.0.0.2 is silent: it gave no sign of life for 4 seconds"
    )
    assert not (hosts.trees[0].paths.model / "gluonts_shell.json").exists()


@pytest.fixture
def apart(hosts):
    """Hosts in network namespaces of their own, whose loopback the others do not see."""
    try:
        with namespaces() as names:
            hosts.names = ["10.213.7.1", "10.213.7.2"]
            hosts.prefixes = [["ip", "netns", "exec", name] for name in names]
            hosts.namespaces = names
            yield hosts
    except Forbidden as error:
        pytest.skip(f"no network namespaces here: {error}")


def test_hosts_with_networks_of_their_own_end_when_these_are_gone(apart):
    processes = apart(JOB, SAME, SAME, GLUONTS_SHELL_HOSTS_SILENCE="4", **{"PAUSE": "0.5"})
    said = until(processes[0], "batch 0 of epoch 1")
    assert losses(said).keys() == {"0"}
    ip("-n", apart.namespaces[1], "link", "set", "eth0", "down")
    done = ends(processes, 60)
    assert [status for status, _ in done] == [1, 1], done
    for tree, other in zip(apart.trees, reversed(apart.names), strict=True):
        assert tree.reason == f"host {other} is silent: it gave no sign of life for 4 seconds"


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_signal_to_any_host_stops_all_with_a_model(hosts, epoch):
    job = {**JOB, "epochs": "10000", "checkpoint_every": "3600"}
    first, second = hosts(job, SAME, SAME, **SLOWLY)
    until(first, f"batch 0 of epoch {epoch}:")
    second.send_signal(signal.SIGTERM)
    done = ends([first, second], 60)
    assert [status for status, _ in done] == [143, 143], done
    assert contract(hosts.trees[0])["stopped_early"] is True
    assert not hosts.trees[1].paths.model.exists()
    assert not any(tree.paths.failure.exists() for tree in hosts.trees)
    assert not hosts.trees[1].paths.checkpoints.exists()
    found = [
        re.search(r"epoch-(\d+)", one.name) for one in hosts.trees[0].paths.checkpoints.glob("*")
    ]
    assert len(found) == (epoch > 0)
    for name in found:
        goes_on_alone(hosts, job, int(name[1]))


def goes_on_alone(hosts, job, epoch):
    """With the weights of the two hosts, and draws of its own."""
    tree = hosts.trees[0]
    tree.configure("resourceconfig", {"current_host": NAMES[0], "hosts": [NAMES[0]]})
    tree.configure("hyperparameters", {**job, "epochs": str(epoch + 1)})
    ((status, said),) = ends([hosts.start(tree)])
    assert status == 0, said
    assert f"resuming at epoch {epoch + 1} of {epoch + 1}" in said
    assert list(losses(said)) == [str(epoch)]
    assert drawn(said, 0)[0] == {1, 2, 3, 4, 5}


DEEPAR = {
    "forecaster_name": "DeepAREstimator",
    **{name: JOB[name] for name in ("freq", "prediction_length", "context_length", "seed")},
    **{name: JOB[name] for name in ("batch_size", "accelerator")},
    "num_batches_per_epoch": "6",
    "hidden_size": "4",
    "num_layers": "1",
    "lags_seq": "[1]",
    "epochs": "2",
    "num_eval_samples": "5",
}


def test_shares_by_key_of_different_sizes_make_one_model(hosts):
    """What no host has seen all of: the categories; numbers among texts are texts."""
    shares = [
        {"train": series(1, cat=["b"]) + series(2, cat=[7]), "validation": series(1, cat=["b"])},
        {"train": series(3, 4, 5, 6, cat=["c"]), "validation": series(3, 4, 5, cat=["c"])},
        {"train": series(7, cat=["a"]), "validation": series(7, cat=[7])},
    ]
    shares[0]["test"] = series(1, cat=["b"])
    shares[1]["test"] = shares[2]["test"] = series(3, cat=["c"])
    done = ends(hosts(DEEPAR, *shares, hosts=3, sharded=["train", "validation"]))
    assert [status for status, _ in done] == [0, 0, 0], done
    said = [text for _, text in done]
    for text in said:
        assert "number of time series: 7" in text
        assert "cardinality=[4]" in text
        assert len(losses(text)) == 2
        assert losses(text) == losses(said[0])
        assert re.findall("validation loss <loss>=.*", text) == re.findall(
            "validation loss <loss>=.*", said[0]
        )
    assert contract(hosts.trees[0])["features"]["labels"] == [["7", "a", "b", "c"]]


def test_a_share_without_a_long_enough_series_is_told_by_all(hosts):
    shares = [{"train": series(1, 2)}, {"train": series(3, length=3)}]
    done = ends(hosts(JOB, *shares, sharded=["train"]))
    assert [status for status, _ in done] == [1, 1]
    sentence = "channel 'train': no series is long enough: the longest has 3 values, and at least 4 are needed"
    assert hosts.trees[1].reason == sentence
    assert hosts.trees[0].reason == f"host {NAMES[1]} failed: {sentence}"


def test_hosts_that_would_train_for_other_times_do_not_begin(hosts):
    """The one that trains longer would wait for the other in the midst of its training."""
    processes = hosts(JOB, SAME, SAME, set_up=[{}, {"epochs": "6", "max_time": "3600"}])
    done = ends(processes)
    assert [status for status, _ in done] == [1, 1], done
    sentence = (
        "this host would train another model than the first host of the job: there and here, "
        "max_epochs was 5, is 6; max_time was not given, is '00:01:00:00'"
    )
    assert hosts.trees[1].reason == sentence
    assert hosts.trees[0].reason == f"host {NAMES[1]} failed: {sentence}"
