"""One predict at a time, first come first served, and what can join joins; whatever goes wrong hurts its own call."""

import threading
import time
from asyncio import CancelledError
from concurrent.futures import ThreadPoolExecutor

import pytest

from gluonts_shell.errors import Cancelled, ModelError, Overloaded
from gluonts_shell.messages import Call, Configuration
from gluonts_shell.serving.endpoint.batching import ASK_SECONDS, Batcher

TIMEOUT = 20


class Model:
    """Doubles numbers. The first predict waits until `opened`, so that others queue behind it."""

    def __init__(self, blocks=True):
        self.batches = []
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.inside = 0
        if not blocks:
            self.opened.set()

    def __call__(self, calls, wanted=None):
        self.inside += 1
        assert self.inside == 1, "two predicts at a time"
        try:
            self.batches.append([entry for call in calls for entry in call.entries])
            self.entered.set()
            assert self.opened.wait(TIMEOUT)
            for call in calls:
                for entry in call.entries:
                    if isinstance(entry, BaseException):
                        raise entry
            return [[2 * entry for entry in call.entries] for call in calls]
        finally:
            self.inside -= 1


def call(*entries, **configuration):
    return Call(Configuration(**configuration), list(entries))


def queued(batcher, count):
    end = time.monotonic() + TIMEOUT
    while len(batcher._queue) < count:
        assert time.monotonic() < end, "the calls did not arrive in the queue"
        time.sleep(0.001)


def behind_a_leader(model, batcher, calls, **options):
    """Submit calls one after another while the first predict is at work; returns the futures in that order."""
    with ThreadPoolExecutor(len(calls) + 1) as pool:
        futures = [pool.submit(batcher.submit, call(0))]
        assert model.entered.wait(TIMEOUT)
        for number, each in enumerate(calls, 1):
            futures.append(pool.submit(batcher.submit, each, **options))
            queued(batcher, number)
        model.opened.set()
    return futures[1:]


def test_a_lone_call_is_predicted_at_once():
    model = Model(blocks=False)
    batcher = Batcher(model, joins=True)
    assert batcher.submit(call(1, 2)) == ([2, 4], 1)
    assert batcher.submit(call()) == ([], 1)


def test_waiting_calls_of_equal_configuration_join_the_next_predict():
    model = Model()
    batcher = Batcher(model, joins=True)
    calls = [call(1), call(2, 3), call(4, num_samples=7), call(5), call(6, num_samples=7)]
    futures = behind_a_leader(model, batcher, calls)
    assert [future.result() for future in futures] == [
        ([2], 3),
        ([4, 6], 3),
        ([8], 2),
        ([10], 3),
        ([12], 2),
    ]
    assert model.batches == [[0], [1, 2, 3, 5], [4, 6]]


def test_a_join_takes_no_more_than_its_share_of_instances():
    model = Model()
    batcher = Batcher(model, joins=True, max_joined=3)
    futures = behind_a_leader(model, batcher, [call(1, 2), call(3, 4), call(5), call(6, 7, 8, 9)])
    assert [future.result()[0] for future in futures] == [[2, 4], [6, 8], [10], [12, 14, 16, 18]]
    assert model.batches == [[0], [1, 2, 5], [3, 4], [6, 7, 8, 9]]


def test_a_model_that_does_not_batch_gets_one_call_after_the_other():
    model = Model()
    batcher = Batcher(model, joins=False)
    futures = behind_a_leader(model, batcher, [call(1), call(2), call(3)])
    assert [future.result() for future in futures] == [([2], 1), ([4], 1), ([6], 1)]
    assert model.batches == [[0], [1], [2], [3]]


def test_a_poisoned_call_hurts_only_itself():
    model = Model()
    batcher = Batcher(model, joins=True)
    futures = behind_a_leader(
        model, batcher, [call(1), call(ValueError("poison")), call(SystemExit(3)), call(4)]
    )
    assert futures[0].result()[0] == [2]
    assert futures[3].result()[0] == [8]
    with pytest.raises(ValueError, match=r"^poison$"):
        futures[1].result()
    with pytest.raises(SystemExit):
        futures[2].result()


@pytest.mark.parametrize(
    "poison", [KeyboardInterrupt, GeneratorExit, CancelledError, BaseException]
)
def test_what_is_no_exception_hurts_only_its_own_call_too(poison):
    model = Model()
    batcher = Batcher(model, joins=True)
    futures = behind_a_leader(model, batcher, [call(1), call(poison()), call(4)])
    assert [futures[0].result()[0], futures[2].result()[0]] == [[2], [8]]
    with pytest.raises(poison):
        futures[1].result()
    assert batcher.submit(call(5)) == ([10], 1)


def test_a_model_with_too_few_results_fails_all_that_it_was_asked():
    batcher = Batcher(lambda calls, wanted: [], joins=True)
    with pytest.raises(ValueError, match="zip"):
        batcher.submit(call(1))


def series_by_series(calls, wanted):
    """Each entry is called; Cancelled once nobody wants it."""
    found = []
    for each in calls:
        results = []
        for number, entry in enumerate(each.entries):
            if not wanted():
                raise Cancelled(f"it was stopped after {number} series")
            results.append(entry())
        found.append(results)
    return found


def test_predicting_is_given_up_once_the_client_has_gone():
    gone = threading.Event()
    batcher = Batcher(series_by_series, joins=True)

    def leave():
        gone.set()
        time.sleep(2 * ASK_SECONDS)

    sentence = (
        r"^the client ended its side of the connection: it was stopped after 1 series; "
        "keep it open until the answer is there$"
    )
    with pytest.raises(Cancelled, match=sentence):
        batcher.submit(call(leave, pytest.fail), alive=lambda: not gone.is_set())
    assert batcher.submit(call(lambda: 1)) == ([1], 1)


def test_predicting_is_given_up_once_the_time_of_the_request_is_over():
    batcher = Batcher(series_by_series, joins=True, timeout=0.1)
    with pytest.raises(
        Cancelled,
        match=r"^the request took more than 0\.1 s: it was stopped after 1 series; ask for less "
        r"at a time \(SAGEMAKER_SERVER_TIMEOUT sets this limit\)$",
    ):
        batcher.submit(call(lambda: time.sleep(0.3), pytest.fail))


def test_predicting_goes_on_while_one_of_those_that_joined_still_waits():
    model = Model()
    batcher = Batcher(model, joins=True)
    gone = threading.Event()

    def slowly(calls, wanted):
        results = model(calls)
        if len(calls) > 1:
            gone.set()
            time.sleep(2 * ASK_SECONDS)
            assert wanted()
        return results

    batcher._predict = slowly
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(batcher.submit, call(0))]
        assert model.entered.wait(TIMEOUT)
        futures.append(pool.submit(batcher.submit, call(1), lambda: not gone.is_set()))
        futures.append(pool.submit(batcher.submit, call(2)))
        queued(batcher, 2)
        model.opened.set()
        assert [future.result() for future in futures] == [([0], 1), ([2], 2), ([4], 2)]


def test_whoever_waits_behind_a_predict_that_hangs_is_told():
    model = Model()
    batcher = Batcher(model, joins=True, limit=0.3)
    assert batcher.overdue() is None
    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(batcher.submit, Call(Configuration(), ["secret"], [3]))
        assert model.entered.wait(TIMEOUT)
        assert batcher.overdue() is None
        behind = [pool.submit(batcher.submit, call(number)) for number in (1, 2)]
        queued(batcher, 2)
        while (text := batcher.overdue()) is None:
            time.sleep(0.02)
        for future in behind:
            with pytest.raises(Overloaded, match="the model hangs, and this worker ends"):
                future.result()
        with pytest.raises(Overloaded, match="the model hangs, and this worker ends"):
            batcher.submit(call(3))
        assert not leader.done()
        model.opened.set()
        leader.result()
    assert text.startswith(
        "a predict of 1 series of 3 to 3 values with Configuration(num_samples=100"
    )
    assert "has not ended within 0.3 s" in text
    assert "assert self.opened.wait" in text, "where it hangs"
    assert "secret" not in text


def test_those_that_joined_a_predict_that_hangs_are_its_culprits():
    model = Model()
    batcher = Batcher(model, joins=True, limit=0.3)
    hanging, end = threading.Event(), threading.Event()

    def predict(calls, wanted):
        results = model(calls)
        if len(calls) > 1:
            hanging.set()
            assert end.wait(TIMEOUT)
        return results

    batcher._predict = predict
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.submit, call(0))
        assert model.entered.wait(TIMEOUT)
        leader = pool.submit(batcher.submit, call(1))
        queued(batcher, 1)
        joined = pool.submit(batcher.submit, call(2))
        queued(batcher, 2)
        other = pool.submit(batcher.submit, call(3, num_samples=7))
        queued(batcher, 3)
        model.opened.set()
        assert first.result() == ([0], 1)
        assert hanging.wait(TIMEOUT)
        while batcher.overdue() is None:
            time.sleep(0.02)
        with pytest.raises(
            ModelError,
            match=r"the model has not answered within 0\.3 s \(GLUONTS_SHELL_MAX_PREDICT_SECONDS sets",
        ):
            joined.result()
        with pytest.raises(Overloaded, match="the model hangs"):
            other.result()
        end.set()
        assert leader.result() == ([2], 2)


def test_a_batch_that_needs_too_much_memory_is_halved():
    class Small(Model):
        def __call__(self, calls, wanted=None):
            results = super().__call__(calls)
            if sum(len(each.entries) for each in calls) > 2:
                raise MemoryError
            return results

    model = Small()
    batcher = Batcher(model, joins=True)
    futures = behind_a_leader(model, batcher, [call(1), call(2), call(3), call(4)])
    assert [future.result()[0] for future in futures] == [[2], [4], [6], [8]]
    assert model.batches == [[0], [1, 2, 3, 4], [1, 2], [3, 4]]


def test_too_many_waiting_calls_are_refused():
    model = Model()
    batcher = Batcher(model, joins=False, max_waiting=2)
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(batcher.submit, call(0))]
        assert model.entered.wait(TIMEOUT)
        futures += [pool.submit(batcher.submit, call(number)) for number in (1, 2)]
        queued(batcher, 2)
        with pytest.raises(Overloaded, match=r"^2 requests are waiting already; try again later$"):
            batcher.submit(call(3))
        model.opened.set()
        assert [future.result()[0] for future in futures] == [[0], [2], [4]]
    assert batcher.submit(call(5)) == ([10], 1)


def test_a_call_that_waited_too_long_is_not_predicted():
    model = Model()
    batcher = Batcher(model, joins=True, timeout=0.2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batcher.submit, call(0))
        assert model.entered.wait(TIMEOUT)
        second = pool.submit(batcher.submit, call(1))
        sentence = r"^the request waited for more than 0\.2 s, and was not predicted; try again later \(SAGEMAKER_SERVER_TIMEOUT sets this limit\)$"
        with pytest.raises(Overloaded, match=sentence):
            second.result(TIMEOUT)
        model.opened.set()
        assert first.result(TIMEOUT) == ([0], 1)
    assert model.batches == [[0]]
    assert batcher.submit(call(2)) == ([4], 1)


@pytest.mark.parametrize("joins", [True, False])
def test_a_call_whose_client_has_gone_is_not_predicted(joins):
    model = Model()
    batcher = Batcher(model, joins=joins)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.submit, call(0))
        assert model.entered.wait(TIMEOUT)
        waiting = []
        for number, alive in ((1, True), (2, False), (3, True)):
            waiting.append(pool.submit(batcher.submit, call(number), lambda alive=alive: alive))
            queued(batcher, number)
        model.opened.set()
        assert first.result(TIMEOUT)[0] == [0]
        assert [waiting[0].result(TIMEOUT)[0], waiting[2].result(TIMEOUT)[0]] == [[2], [6]]
        with pytest.raises(
            Overloaded,
            match=r"^the client ended its side of the connection before its turn came, and ",
        ):
            waiting[1].result(TIMEOUT)
    assert 2 not in [entry for batch in model.batches for entry in batch]


@pytest.mark.parametrize("joins", [True, False])
def test_many_threads_get_their_own_results_and_nobody_starves(joins):
    model = Model(blocks=False)
    batcher = Batcher(model, joins=joins)

    def client(number):
        return [batcher.submit(call(1000 * number + turn))[0] for turn in range(200)]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(client, range(16)))
    assert answers == [
        [[2 * (1000 * number + turn)] for turn in range(200)] for number in range(16)
    ]
    assert not batcher._busy
    assert not batcher._queue


def after_a_crowd(of, *, back, expected, sizes=1):
    """The batches of a model whose last predict served so many calls, when `back` of them come one after another."""
    model = Model(blocks=False)
    batcher = Batcher(model, joins=True)
    batcher._crowd, batcher._expected = of, time.monotonic() + expected
    with ThreadPoolExecutor(back) as pool:
        for number in range(back):
            pool.submit(batcher.submit, call(*[number] * sizes))
            if not expected:
                served(model, number + 1)
            elif number + 1 < back:
                queued(batcher, number)
    return model.batches


def served(model, count):
    end = time.monotonic() + TIMEOUT
    while len(model.batches) < count:
        assert time.monotonic() < end, "the calls were not predicted"
        time.sleep(0.001)


def test_the_first_of_a_crowd_waits_until_it_is_back():
    assert after_a_crowd(4, back=4, expected=TIMEOUT) == [[0, 1, 2, 3]]


def test_as_many_as_can_join_do_not_wait_for_the_rest():
    assert after_a_crowd(9, back=2, expected=TIMEOUT, sizes=32) == [[0] * 32 + [1] * 32]


def test_a_crowd_that_is_not_back_in_time_is_not_waited_for():
    assert after_a_crowd(4, back=2, expected=0) == [[0], [1]]


def test_a_lone_client_waits_for_nobody():
    assert after_a_crowd(1, back=1, expected=TIMEOUT) == [[0]]


def test_a_crowd_is_whoever_was_predicted_or_left_waiting_and_has_a_moment_to_come_back():
    model = Model()
    batcher = Batcher(model, joins=True)
    futures = behind_a_leader(model, batcher, [call(1), call(2, num_samples=7)])
    assert [future.result()[0] for future in futures] == [[2], [4]]
    assert batcher._crowd == 1, "the last predict was of one call, and nobody waited"
    batcher._predict = lambda calls, wanted: [time.sleep(0.01) or [0] for _ in calls]
    batcher.submit(call(0))
    assert batcher._expected <= time.monotonic() + 0.02, (
        "at most that, however long the predict took"
    )
