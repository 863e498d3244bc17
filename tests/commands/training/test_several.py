"""What `train` says of a job that several processes share; the jobs themselves are in `test_distributed_journey`."""

import logging
import os
import signal
import sys

import pytest

from gluonts_shell.commands.training import several
from gluonts_shell.errors import ConfigurationError, DataError, HostError
from gluonts_shell.sagemaker.hosts import Ending, Hosts
from gluonts_shell.sagemaker.job import TrainingJob
from gluonts_shell.serving.processes.signals import Stopped
from gluonts_shell.settings import Settings

JOB = {"freq": "D", "prediction_length": "2", "accelerator": "cpu"}


@pytest.fixture(autouse=True)
def _signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_hosts_agree_on_checkpoints_as_the_first_host_has_it():
    print_ = {"lr": "0.1"}
    assert several.agreed(print_, False, lambda _: [[{"lr": "0.1"}, True], [print_, False]])
    assert not several.agreed(print_, True, lambda _: [[{"lr": "0.1"}, False], [print_, True]])


def test_a_host_that_would_train_another_model_says_what_differs():
    there = {"cardinality": "[3]", "lr": "0.1"}
    sentence = r"there and here, cardinality was \[3\], is \[2\]"
    with pytest.raises(ConfigurationError, match=sentence):
        several.agreed({**there, "cardinality": "[2]"}, True, lambda _: [[there, True]])


class Told(Hosts):
    """The second of two hosts, the first of which says `first`."""

    def __init__(self, first):
        super().__init__("two", ["one", "two"])
        self.said = first

    def gather(self, value):
        return [self.said, value]


@pytest.mark.torch
def test_a_host_with_another_forecaster_does_not_wait_for_the_first(tmp_path):
    own = "gluonts.torch.model.simple_feedforward.estimator.SimpleFeedForwardEstimator"
    several.check_forecaster(planned(tmp_path), Told(own))
    sentence = rf"^the forecaster of this host is {own}, that of the first host of the job a\.B: "
    with pytest.raises(ConfigurationError, match=sentence):
        several.check_forecaster(planned(tmp_path), Told("a.B"))


def planned(tmp_path, **hyperparameters):
    from gluonts_shell.forecasting.plan import Plan
    from gluonts_shell.sagemaker.job import Channel

    name = "gluonts.torch.model.simple_feedforward.SimpleFeedForwardEstimator"
    given = {"forecaster_name": name, **JOB, **hyperparameters}
    return Plan.of(given, {"train": Channel("train", tmp_path)})


def ranks(plan, hosts=None):
    alone = hosts or Hosts("local", ["local"])
    return several.ranks(TrainingJob({}, {}), alone, plan, Settings())


@pytest.mark.torch
def test_a_host_without_accelerators_has_one_process(tmp_path):
    found = ranks(planned(tmp_path, seed="3"))
    assert (found.count, found.seed, dict(found.environment)) == (1, 3, {})


@pytest.mark.torch
def test_the_processes_of_one_host_meet_at_a_port_that_is_free(tmp_path, monkeypatch):
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth5")
    found = ranks(planned(tmp_path, devices="3"))
    assert (found.count, found.devices, found.rank) == (3, 3, 0)
    assert found.environment["MASTER_ADDR"] == "127.0.0.1"
    assert found.environment["NODE_RANK"] == "0"
    assert int(found.environment["MASTER_PORT"]) > 0
    assert "NCCL_SOCKET_IFNAME" not in found.environment


@pytest.mark.torch
def test_a_strategy_of_another_kind_is_refused_where_several_processes_train(tmp_path):
    assert ranks(planned(tmp_path, strategy="fsdp")).count == 1
    with pytest.raises(ConfigurationError, match="'strategy' is 'fsdp', expected one of auto, ddp"):
        ranks(planned(tmp_path, strategy="fsdp", devices="2"))


@pytest.mark.torch
@pytest.mark.parametrize(("given", "shown"), [("2", "2"), ("-1", "-1"), ("[0, 1]", r"\[0, 1\]")])
def test_a_class_that_trains_in_one_process_takes_no_devices(tmp_path, monkeypatch, given, shown):
    from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator

    class Alone(SimpleFeedForwardEstimator):
        def train(self, training_data, validation_data=None):
            return super().train(training_data, validation_data)

    monkeypatch.setattr(sys.modules[__name__], "Alone", Alone, raising=False)
    Alone.__qualname__ = "Alone"
    sentence = f"'devices' is {shown}, but Alone trains in one process"
    with pytest.raises(ConfigurationError, match=sentence):
        planned(
            tmp_path, forecaster_name=f"{__name__}.Alone", trainer_kwargs=f'{{"devices": {given}}}'
        )


def blamed(error, ending=None):
    """What comes out of a job in which `error` is raised and another host ended so."""

    class Found(Hosts):
        @classmethod
        def meet(cls, *_, **__):
            hosts = cls("algo-1", ["algo-1", "algo-2"])
            hosts.shared, hosts.ending = True, ending
            return hosts

        def listen(self, _):
            """The signal that would come is what the error stands for."""

    before, several.Hosts = several.Hosts, Found
    try:
        with several.together(TrainingJob({}, {}), Settings(), lambda _: 1):
            raise error
    except BaseException as found:
        return found
    finally:
        several.Hosts = before


GONE = Ending("algo-2", 1, "is gone: its process ended without a word")


def test_what_fails_because_another_host_is_gone_is_told_as_that():
    for error in (RuntimeError("Connection closed by peer"), Stopped(signal.SIGTERM)):
        found = blamed(error, GONE)
        assert isinstance(found, HostError)
        assert str(found) == "host algo-2 is gone: its process ended without a word"
        assert found.__cause__ is error


def test_a_fault_of_this_host_stays_its_own():
    error = DataError("train/data.json line 3: this is not JSON")
    assert blamed(error, GONE) is error


def test_a_stop_of_another_host_is_a_stop():
    found = blamed(
        RuntimeError("Connection closed"), Ending("algo-2", 143, "was stopped by SIGTERM")
    )
    assert (type(found), found.code) == (Stopped, 143)


def test_an_error_without_news_of_others_is_itself(monkeypatch):
    monkeypatch.setattr(several, "NEWS", 0.1)
    error = RuntimeError("out of memory")
    assert blamed(error) is error


def test_the_log_of_torchs_own_code_is_quiet_with_several_hosts():
    environ = {}
    several.quiet_torch(TrainingJob({}, {}), environ)
    assert environ == {}
    several.quiet_torch(TrainingJob({}, {}, "a", ("a", "b")), environ)
    assert environ == {"TORCH_CPP_LOG_LEVEL": "ERROR"}


def test_a_process_of_a_device_that_fails_is_told(caplog):
    hosts = Hosts("algo-1", ["algo-1"])
    told = []
    hosts.listen(told.append)

    def run(local):
        if local:
            os._exit(3)
        return hosts.news(20)

    caplog.set_level(logging.CRITICAL)
    ending = several._on_devices(2, run, hosts)
    assert (
        str(ending)
        == "host algo-1 lost the process of its device 1, which ended with exit status 3"
    )
    assert hosts.shared
