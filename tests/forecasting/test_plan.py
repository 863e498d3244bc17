"""What a plan says of itself; what it refuses is in `tests/commands/test_train.py`, as a job sees it."""

import pytest

from gluonts_shell.forecasting.lightning.checkpoints import differences
from gluonts_shell.forecasting.plan import Plan
from gluonts_shell.sagemaker.job import Channel
from tests.conftest import MONTHLY

pytestmark = pytest.mark.torch

DEEPAR = {"time_freq": "M", "prediction_length": "12", "context_length": "12", "epochs": "3"}


def fingerprint(**hyperparameters):
    channels = {"train": Channel("train", MONTHLY / "train")}
    plan = Plan.of({**DEEPAR, **hyperparameters}, channels)
    return plan.fingerprint(plan.read())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": "4"}, ""),
        ({"learning_rate": "0.01"}, "lr was 0.001, is 0.01"),
        ({"early_stopping_patience": "5"}, "early_stopping_patience was not given, is 5"),
    ],
)
def test_of_deepars_words_those_that_decide_what_is_learnt_are_in_the_fingerprint(given, said):
    assert differences(fingerprint(), fingerprint(**given)) == said
