"""A forecaster for the tests of batch jobs: it repeats the last value, unless the item_id says what else to do."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from pathlib import Path

import numpy as np
from gluonts.core.component import validated
from gluonts.model.forecast import QuantileForecast
from gluonts.model.predictor import RepresentablePredictor


class LastValue(RepresentablePredictor):
    @validated()
    def __init__(self, prediction_length: int) -> None:
        super().__init__(prediction_length=prediction_length)

    def predict_item(self, item):
        match (item.get("item_id") or "").partition(" ")[0]:
            case "hang":
                time.sleep(600)
            case "slow":
                time.sleep(0.1)
            case "loop":
                while True:
                    pass
            case "hold":  # the interpreter, as native code does that does not let go of its lock
                ctypes.PyDLL(None).usleep(2_800_000)
            case "interrupt":
                raise KeyboardInterrupt
            case "cancel":
                raise asyncio.CancelledError
            case "close":
                raise GeneratorExit
            case "raise":
                raise ZeroDivisionError("a secret of the model")
            case "die":
                os._exit(3)
        rows = np.full((2, self.prediction_length), item["target"][-1], dtype=np.float32)
        return QuantileForecast(
            rows, forecast_keys=["0.1", "0.9"], start_date=item["start"] + len(item["target"])
        )


def save(folder: Path, predictor, freq: str) -> None:
    from gluonts_shell.forecasting.artifact import save
    from gluonts_shell.forecasting.contract import Contract
    from gluonts_shell.forecasting.forecaster.catalog import class_path

    save(
        predictor, Contract(freq, predictor.prediction_length, class_path(type(predictor))), folder
    )


if __name__ == "__main__":
    import batch_toy
    from gluonts.model.seasonal_naive import SeasonalNaivePredictor

    if sys.argv[2:] == ["hourly"]:
        batch_toy.save(
            Path(sys.argv[1]), SeasonalNaivePredictor(prediction_length=24, season_length=24), "h"
        )
    else:
        batch_toy.save(Path(sys.argv[1]), batch_toy.LastValue(prediction_length=3), "D")
