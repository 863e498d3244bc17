"""Jobs on several hosts whose forecaster one host trains: the others wait for it as long as it lives."""

from __future__ import annotations

import os
import signal
import textwrap

import pytest

from tests.several import NAMES, Job, ends

pytestmark = pytest.mark.once

NAIVE = {
    "forecaster_name": "SeasonalNaivePredictor",
    "freq": "M",
    "prediction_length": "12",
    "season_length": "12",
}
SLOW = """
    import time
    from gluonts.model.trivial.mean import MeanPredictor

    class Slow(MeanPredictor):
        def predict(self, dataset, num_samples=100):
            print("evaluating", flush=True)
            time.sleep(600)
            yield
"""
SLOWLY = {"forecaster_name": "slow.Slow", "freq": "M", "prediction_length": "12"}


@pytest.fixture
def hosts(start, tmp_path):
    (tmp_path / "site" / "slow.py").write_text(textwrap.dedent(SLOW))
    return Job(start, tmp_path)


def until(process, text):
    said = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            return
    raise AssertionError(f"it ended before it said {text!r}: {''.join(said)}")


def test_the_first_host_works_and_the_others_wait_for_it(hosts):
    done = ends(hosts(NAIVE, hosts=3))
    assert [status for status, _ in done] == [0, 0, 0], done
    assert "#test_score (127.0.0.1, MASE): " in done[0][1]
    for host, tree, (_, said) in list(zip(NAMES, hosts.trees, done, strict=True))[1:]:
        assert (
            "SeasonalNaivePredictor is trained by one host, which is 127.0.0.1; "
            f"there is nothing to do on {host}"
        ) in said
        assert not tree.paths.model.exists()
        assert "#test_score" not in said
    assert (hosts.trees[0].paths.model / "gluonts_shell.json").exists()


def test_they_end_with_its_status_and_its_reason(hosts):
    done = ends(hosts({**NAIVE, "evaluation": "required"}, *[{"test": ["{"]}] * 2))
    assert [status for status, _ in done] == [1, 1]
    assert hosts.trees[0].reason.startswith("test/data.json line 1: this is not JSON")
    assert hosts.trees[1].reason == f"host 127.0.0.1 failed: {hosts.trees[0].reason}"
    assert "Traceback" not in done[1][1]


@pytest.mark.parametrize("host", [0, 1])
def test_a_signal_to_any_of_them_stops_all_and_the_model_stays(hosts, host):
    processes = hosts(SLOWLY)
    until(processes[0], "evaluating")
    processes[host].send_signal(signal.SIGTERM)
    done = ends(processes, 30)
    assert [status for status, _ in done] == [143, 143], done
    assert (hosts.trees[0].paths.model / "gluonts_shell.json").exists()
    assert not any(tree.paths.failure.exists() for tree in hosts.trees)


@pytest.mark.parametrize("host", [0, 1])
def test_one_that_is_killed_ends_the_others(hosts, host):
    processes = hosts(SLOWLY)
    until(processes[0], "evaluating")
    processes[host].kill()
    done = ends(processes, 30)
    assert (done[host][0], done[1 - host][0]) == (-9, 1)
    sentence = f"host {NAMES[host]} is gone: its process ended without a word"
    assert hosts.trees[1 - host].reason == sentence


def test_one_that_hangs_ends_the_others(hosts):
    first, second = hosts(SLOWLY, GLUONTS_SHELL_HOSTS_SILENCE="3")
    until(first, "evaluating")
    os.kill(first.pid, signal.SIGSTOP)
    ((status, _),) = ends([second], 30)
    assert status == 1
    sentence = "host 127.0.0.1 is silent: it gave no sign of life for 3 seconds"
    assert hosts.trees[1].reason == sentence
    os.kill(first.pid, signal.SIGCONT)
    ((status, _),) = ends([first], 30)
    assert status == 1
    assert hosts.trees[0].reason == f"host 127.0.0.2 failed: {sentence}"


@pytest.mark.parametrize("host", [0, 1])
def test_one_that_fails_before_they_meet_is_heard_of(hosts, host):
    set_up = [{}, {}]
    set_up[host] = {"forecaster_name": "no.such.Forecaster"}
    done = ends(hosts(NAIVE, set_up=set_up), 30)
    assert [status for status, _ in done] == [1, 1], done
    reason = hosts.trees[host].reason
    assert "no.such" in reason
    assert hosts.trees[1 - host].reason == f"host {NAMES[host]} failed: {reason}"


IMPORTING = """
    import time
    from gluonts.model.trivial.mean import MeanPredictor

    print("importing", flush=True)
    time.sleep(600)

    class Late(MeanPredictor):
        pass
"""


@pytest.mark.parametrize("host", [0, 1])
def test_a_signal_before_they_meet_stops_all(hosts, host, tmp_path):
    (tmp_path / "site" / "late.py").write_text(textwrap.dedent(IMPORTING))
    set_up = [{"forecaster_name": "slow.Slow"}] * 2
    set_up[host] = {"forecaster_name": "late.Late"}
    processes = hosts({"freq": "M", "prediction_length": "12"}, set_up=set_up)
    until(processes[host], "importing")
    until(processes[1 - host], f"host {NAMES[1 - host]} of")
    processes[host].send_signal(signal.SIGTERM)
    done = ends(processes, 30)
    assert [status for status, _ in done] == [143, 143], done
    assert not any(tree.paths.failure.exists() for tree in hosts.trees)


def test_one_that_never_comes_is_named_by_the_others(hosts):
    processes = hosts(NAIVE, hosts=3, GLUONTS_SHELL_HOSTS_WAIT="3")
    processes[2].kill()
    done = ends(processes, 30)
    assert [status for status, _ in done] == [1, 1, -9]
    sentence = "host 127.0.0.3 did not come within 3 seconds"
    assert [tree.reason for tree in hosts.trees] == [sentence, sentence, None]


def test_a_first_host_that_never_comes_is_named_too(hosts):
    first, second = hosts(NAIVE, GLUONTS_SHELL_HOSTS_WAIT="2")
    first.kill()
    done = ends([first, second], 30)
    assert done[1][0] == 1
    port = int(hosts.settings["MASTER_PORT"]) + 1
    assert hosts.trees[1].reason.startswith(
        f"host 127.0.0.1 did not come within 2 seconds (port {port}: "
    )
