import logging
import os

import numpy as np
import pandas as pd
import pytest

from gluonts_shell.forecasting.data.channel import Channel, Data, Statistics
from gluonts_shell.forecasting.lightning.checkpoints import (
    OURS,
    Checkpoints,
    differences,
    fingerprint,
    lengths,
)

PRINT = {"forecaster": "a.B", "lr": "0.001"}


@pytest.mark.parametrize(
    ("before", "now", "sentence"),
    [
        ({"lr": "0.001"}, {"lr": "0.01"}, "lr was 0.001, is 0.01"),
        ({}, {"lr": "0.01"}, "lr was not given, is 0.01"),
        (
            {"a": "1", "b": "2", "c": "3"},
            {"a": "1", "b": "0"},
            "b was 2, is 0; c was 3, is not given",
        ),
        (
            dict.fromkeys("abcdefg", "1"),
            dict.fromkeys("abcdefg", "2"),
            "a was 1, is 2; b was 1, is 2; c was 1, is 2; d was 1, is 2; e was 1, is 2; and 2 more",
        ),
    ],
)
def test_what_differs_is_named(before, now, sentence):
    assert differences(before, now) == sentence


def data(*targets, held=True):
    start = pd.Period("2020-01", "M")
    entries = [{"start": start, "target": np.array(values, dtype=np.float32)} for values in targets]
    statistics = Statistics()
    for entry in entries:
        statistics.add(entry, lambda: "here")
    return Data(Channel("train", None, "M"), statistics, entries if held else None)


class Plain:
    """Says of itself no more than its address."""


def of(arguments=None, train=None):
    return fingerprint(
        "a.B", arguments or {"lr": 0.1}, {"train": train or data([1, 2]), "validation": None}
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"lr": 0.1, "trainer_kwargs": {"max_epochs": 3, "max_time": "00:01:00:00"}},
        {"trainer_kwargs": {"max_epochs": 4}, "lr": 0.1},
    ],
)
def test_how_long_to_train_makes_no_other_job(arguments):
    assert of(arguments) == of()


def test_how_long_to_train_is_told_apart_from_what_is_trained():
    trainer = {"max_epochs": 3, "max_time": {"hours": 1}, "accelerator": "cpu"}
    assert lengths(trainer) == {"max_epochs": "3", "max_time": "{'hours': 1}"}


@pytest.mark.parametrize(
    ("arguments", "train", "name"),
    [
        ({"lr": 0.2}, None, "lr"),
        ({"lr": 0.1, "trainer_kwargs": {"gradient_clip_val": 1.0}}, None, "gradient_clip_val"),
        ({"lr": 0.1}, data([1, 3]), "channel 'train'"),
        ({"lr": 0.1}, data([2, 1]), "channel 'train'"),
        ({"lr": 0.1}, data([1], [2]), "channel 'train'"),
        ({"lr": 0.1}, data([1, 2, 3], held=False), "channel 'train'"),
    ],
)
def test_what_is_learnt_and_from_what_makes_another_job(arguments, train, name):
    before, now = of(), of(arguments, train)
    assert [key for key in {**before, **now} if before.get(key) != now.get(key)] == [name]


def test_objects_are_the_same_in_the_next_process():
    assert of({"distribution": Plain()}) == of({"distribution": Plain()})


@pytest.mark.torch
class TestFiles:
    @pytest.fixture
    def written(self, tmp_path):
        """written(epochs, fingerprint): a job's checkpoints after so many epochs; it returns them."""
        import torch

        def write(epochs, given=PRINT, host="algo-1"):
            found = Checkpoints(tmp_path / "checkpoints", host, given)
            for epoch in epochs:
                torch.save({"epoch": epoch, OURS: {"fingerprint": given}}, tmp_path / "saved")
                found.write(tmp_path / "saved", epoch)
            return found

        return write

    @staticmethod
    def names(checkpoints):
        return sorted(name.split(".", 2)[2] for name in os.listdir(checkpoints.folder))

    def test_the_last_two_are_kept_and_the_newest_is_read(self, written):
        found = written([1, 2, 3, 11])
        assert self.names(found) == ["epoch-000003.ckpt", "epoch-000011.ckpt"]
        again = written([])
        assert again.newest(20)["epoch"] == 11
        assert written([12]).newest(-1)["epoch"] == 12
        assert self.names(found) == ["epoch-000011.ckpt", "epoch-000012.ckpt"]

    @pytest.mark.parametrize("torn", [0, 1, 100, -1])
    def test_one_that_is_torn_falls_back_to_the_one_before(self, written, caplog, torn):
        path = written([1, 2]).written[-1]
        path.write_bytes(path.read_bytes()[:torn])
        assert written([]).newest(20)["epoch"] == 1
        assert caplog.messages[0].startswith(f"checkpoint {path.name} is unreadable and ignored: ")

    def test_nothing_of_a_checkpoint_is_executed(self, written, tmp_path, caplog):
        import torch

        class Trap:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "sprung"),)

        path = written([1, 2]).written[-1]
        torch.save({"epoch": 2, OURS: {"fingerprint": PRINT}, "more": Trap()}, path)
        assert written([]).newest(20)["epoch"] == 1
        assert "unreadable and ignored" in caplog.text
        assert not (tmp_path / "sprung").exists()

    def test_a_file_that_is_no_checkpoint_of_ours_is_ignored(self, written):
        import torch

        path = written([1, 2]).written[-1]
        torch.save({"weights": 1}, path)
        assert written([]).newest(20)["epoch"] == 1

    def test_that_of_another_job_is_ignored_with_what_differs_and_kept(self, written, caplog):
        written([5])
        found = written([], {**PRINT, "lr": "0.01"})
        assert found.newest(20) is None
        assert caplog.messages == ["checkpoint of another job ignored: lr was 0.001, is 0.01"]
        written([1, 2, 3], {**PRINT, "lr": "0.01"})
        assert self.names(found) == ["epoch-000002.ckpt", "epoch-000003.ckpt", "epoch-000005.ckpt"]

    def test_those_of_other_hosts_and_other_programs_are_left_alone(self, written, caplog):
        theirs = written([5], host="algo-2")
        (theirs.folder / "algo-1.epoch-000009.ckpt").write_text("somebody's")
        assert written([], host="algo-1").newest(20) is None
        written([1, 2, 3], host="algo-1")
        assert len(os.listdir(theirs.folder)) == 4
        assert caplog.messages == []

    def test_one_with_more_epochs_than_are_asked_for_is_ignored(self, written, caplog):
        found = written([5, 6])
        assert found.newest(5)["epoch"] == 5
        assert caplog.messages == [
            f"checkpoint {found.written[-1].name} ignored: it has 6 epochs, and 5 are asked for"
        ]

    def test_a_new_start_is_not_hidden_by_what_was_there(self, written):
        written([5, 6])
        found = written([1, 2])
        assert self.names(found) == ["epoch-000001.ckpt", "epoch-000002.ckpt"]

    def test_a_checkpoint_that_cannot_be_written_ends_no_training(self, tmp_path, caplog):
        caplog.set_level(logging.WARNING)
        (tmp_path / "checkpoints").write_text("a file where the folder should be")
        (tmp_path / "saved").write_text("")
        Checkpoints(tmp_path / "checkpoints", "algo-1", PRINT).write(tmp_path / "saved", 1)
        assert "cannot be written" in caplog.text

    def test_what_cannot_be_removed_ends_no_training(self, written):
        checkpoints = written([1])
        (old,) = checkpoints.folder.iterdir()
        old.unlink()
        old.mkdir()
        assert self.names(written([2, 3])) == [f"epoch-00000{n}.ckpt" for n in (1, 2, 3)]

    def test_nothing_is_there_before_the_first(self, tmp_path):
        assert Checkpoints(tmp_path / "checkpoints", "algo-1", PRINT).newest(20) is None
        assert not (tmp_path / "checkpoints").exists()
