"""The batches are GluonTS's own, bit for bit: that is the one promise of `windows`."""

import random

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.torch

HORIZON = 3
STATIC = {"num_feat_static_cat": 1, "num_feat_static_real": 2, "num_feat_dynamic_real": 2}
ESTIMATORS = {
    "deepar": ("deepar.DeepAREstimator", {"freq": "D", "lags_seq": [1, 2, 7]}),
    "deepar with features": ("deepar.DeepAREstimator", {"freq": "D", "cardinality": [3], **STATIC}),
    "tide": ("tide.TiDEEstimator", {"freq": "D"}),
    "tide with features": ("tide.TiDEEstimator", {"freq": "D", "cardinality": [3], **STATIC}),
    "tft": ("tft.TemporalFusionTransformerEstimator", {"freq": "D"}),
    "tft with features": (
        "tft.TemporalFusionTransformerEstimator",
        {
            "freq": "D",
            "static_cardinalities": [3],
            "static_dims": [2],
            "dynamic_dims": [2],
            "past_dynamic_dims": [1],
        },
    ),
    "patch_tst": ("patch_tst.PatchTSTEstimator", {"patch_len": 2}),
    "patch_tst with features": (
        "patch_tst.PatchTSTEstimator",
        {"patch_len": 2, "num_feat_dynamic_real": 2},
    ),
    "simple_feedforward": ("simple_feedforward.SimpleFeedForwardEstimator", {}),
    "d_linear": ("d_linear.DLinearEstimator", {}),
    "lag_tst": ("lag_tst.LagTSTEstimator", {"freq": "D", "lags_seq": [1, 2]}),
}
LEFT_ALONE = {"wavenet": ("wavenet.WaveNetEstimator", {"freq": "D"})}


def series(count=7, freq="D"):
    """Some shorter than a window, some with missing values, each with a start of its own."""
    draw = np.random.default_rng(0)
    entries = []
    for number in range(count):
        length = 6 + 9 * number
        target = draw.normal(size=length).astype(np.float32)
        target[2::5] = np.nan
        entries.append(
            {
                "start": pd.Period("2023-12-20", freq) + 11 * number,
                "target": target,
                "item_id": str(number),
                "feat_static_cat": np.array([number % 3]),
                "feat_static_real": draw.normal(size=2).astype(np.float32),
                "feat_dynamic_real": draw.normal(size=(2, length)).astype(np.float32),
                "past_feat_dynamic_real": draw.normal(size=(1, length)).astype(np.float32),
            }
        )
    return entries


def estimator(path, arguments):
    import importlib

    module, _, name = f"gluonts.torch.model.{path}".rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    context = {} if "wavenet" in path else {"context_length": 6}
    return kind(
        prediction_length=HORIZON, batch_size=8, num_batches_per_epoch=4, **context, **arguments
    )


def loader(kind, entries, ours, shuffle=None):
    """As `train_model` makes it, from the same seed."""
    from gluonts_shell.forecasting.lightning.windows import straight, with_calendar

    random.seed(1)
    np.random.seed(1)
    transformation = kind.create_transformation()
    if ours:
        transformation = with_calendar(transformation)
    data = transformation.apply(entries, is_train=True)
    found = kind.create_training_data_loader(
        data, kind.create_lightning_module(), shuffle_buffer_length=shuffle
    )
    return straight(found, data) if ours else found


def assert_equal(theirs, ours):
    import torch

    for expected, found in zip(theirs, ours, strict=True):
        assert list(found) == list(expected)
        for name, values in expected.items():
            assert found[name].dtype == values.dtype, name
            assert found[name].stride() == values.stride(), name
            assert torch.equal(found[name].nan_to_num(), values.nan_to_num()), name
            assert torch.equal(found[name].isnan(), values.isnan()), name


@pytest.mark.parametrize("shuffle", [None, 5])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_batch_is_that_of_gluonts_bit_for_bit(name, shuffle):
    """Over several epochs, since the stream of series goes on from one to the next."""
    from gluonts_shell.forecasting.lightning.windows import Windows

    theirs = loader(estimator(*ESTIMATORS[name]), series(), False, shuffle)
    expected = [batch for _ in range(3) for batch in theirs]
    ours = loader(estimator(*ESTIMATORS[name]), series(), True, shuffle)
    assert type(ours) is Windows
    assert_equal(expected, [batch for _ in range(3) for batch in ours])


def test_targets_of_several_dimensions_too():
    """(dimensions, time) becomes (time, dimensions) in a window."""
    entries = series()
    for entry in entries:
        entry["target"] = np.stack([entry["target"], entry["target"] + 1])
    several = "i_transformer.ITransformerEstimator", {}
    theirs = list(loader(estimator(*several), entries, False))
    assert theirs[0]["past_target"].shape == (8, 6, 2)
    assert_equal(theirs, list(loader(estimator(*several), entries, True)))


@pytest.mark.parametrize("freq", ["5min", "h", "B", "W-SUN", "M", "2M", "Q-DEC", "Y-DEC"])
def test_time_features_that_are_kept_are_those_of_gluonts(freq):
    freq = pd.Period(
        "2020-01-01", freq.replace("Y-", "A-") if pd.__version__ < "2.2" else freq
    ).freqstr
    arguments = {"freq": freq, "lags_seq": [1, 2]}
    entries = series(freq=freq)
    theirs = list(loader(estimator("deepar.DeepAREstimator", arguments), entries, False))
    assert_equal(
        theirs, list(loader(estimator("deepar.DeepAREstimator", arguments), entries, True))
    )


def test_series_far_apart_do_not_fill_the_memory(monkeypatch):
    from gluonts_shell.forecasting.lightning import windows

    monkeypatch.setattr(windows, "KEPT_PERIODS", 100)
    kind = estimator(*ESTIMATORS["deepar"])
    entries = series()
    entries[-1]["start"] = pd.Period("1800-01-01", "D")
    theirs = list(loader(kind, entries, False))
    kind = estimator(*ESTIMATORS["deepar"])
    calendar = next(
        step
        for step in windows.with_calendar(kind.create_transformation()).transformations
        if type(step) is windows.Calendar
    )
    for entry in entries:
        calendar.map_transform(dict(entry), True)
    assert [features.shape[1] for _, features in calendar.kept.values()] <= [100]
    assert_equal(theirs, list(loader(kind, entries, True)))


def test_a_transformation_with_features_of_the_users_own_is_left_alone():
    from gluonts_shell.forecasting.lightning.windows import with_calendar

    kind = estimator(
        "deepar.DeepAREstimator",
        {"freq": "D", "time_features": [lambda index: np.arange(len(index))]},
    )
    transformation = kind.create_transformation()
    assert [type(s) for s in with_calendar(transformation).transformations] == [
        type(s) for s in transformation.transformations
    ]


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_a_loader_that_gluonts_builds_in_another_way_is_left_alone(name):
    from gluonts.itertools import IterableSlice

    assert type(loader(estimator(*LEFT_ALONE[name]), series(), True)) is IterableSlice


def test_a_sampler_whose_windows_may_end_beyond_their_series_is_left_alone():
    """GluonTS makes them shorter, which is no error where all of a batch are."""
    from gluonts.itertools import IterableSlice
    from gluonts.transform import TestSplitSampler

    kind = estimator("deepar.DeepAREstimator", {"freq": "D", "train_sampler": TestSplitSampler()})
    theirs = list(loader(kind, series(), False))
    assert theirs[0]["future_target"].shape == (8, 0)
    ours = loader(kind, series(), True)
    assert type(ours) is IterableSlice
    assert_equal(theirs, list(ours))


def test_a_loader_that_has_begun_or_is_over_other_data_is_left_alone():
    from gluonts_shell.forecasting.lightning.windows import straight

    kind = estimator(*ESTIMATORS["d_linear"])
    data = kind.create_transformation().apply(series(), is_train=True)
    module = kind.create_lightning_module()
    found = kind.create_training_data_loader(data, module)
    assert straight(found, list(data)) is found
    next(iter(found))
    assert straight(found, data) is found
    assert straight([1], data) == [1]


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_loader_goes_on_where_another_was(epochs):
    name = "deepar with features"
    first = loader(estimator(*ESTIMATORS[name]), series(), True)
    for _ in range(epochs):
        list(first)
    state, generator = first.state(), np.random.get_state()
    expected = list(first)
    second = loader(estimator(*ESTIMATORS[name]), series(), True)
    second.restore(state)
    np.random.set_state(generator)
    assert_equal(expected, list(second))


def test_series_without_a_window_end_the_training_as_in_gluonts():
    from gluonts.env import env

    with env._let(max_idle_transforms=5):
        windows = loader(estimator(*ESTIMATORS["d_linear"]), short(), True)
        with pytest.raises(Exception, match="idle transformation calls"):
            list(windows)


def short():
    return [{**entry, "target": entry["target"][:1]} for entry in series(count=2)]


def test_features_of_another_length_or_shape_are_refused_as_stacking_them_would_be():
    entries = series()
    for entry in entries[::2]:
        entry["past_feat_dynamic_real"] = entry["past_feat_dynamic_real"][:, :1]
    with pytest.raises(ValueError, match=r"^a window ends at \d+, and its series has 1 values$"):
        list(loader(estimator(*ESTIMATORS["tft with features"]), entries, True))
