"""A forecaster of one's own, as the code channel brings it: the demo's, which needs no training and no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from gluonts.core.component import validated
from gluonts.dataset.util import forecast_start
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import RepresentablePredictor


class SeasonalGrowthPredictor(RepresentablePredictor):
    """The last season once more, times the growth over a season that each stretch of the past has seen.

    Every stretch of prediction_length values in the last `seasons` seasons gives one sample, so that what is likely,
    and how sure that is, comes from the series itself. For series of positive values; one that is shorter than a
    season and a horizon is repeated without growth.
    """

    @validated()  # stores the arguments, so that the model can be saved and loaded
    def __init__(self, prediction_length: int, season_length: int = 12, seasons: int = 10) -> None:
        super().__init__(prediction_length=prediction_length)
        self.season_length = season_length
        self.seasons = seasons

    def predict_item(self, item: dict[str, Any]) -> SampleForecast:
        target = np.asarray(item["target"], dtype=float)
        samples = self.growth(target) * self.last_season(target)
        return SampleForecast(samples, start_date=forecast_start(item), item_id=item.get("item_id"))

    def last_season(self, target: np.ndarray) -> np.ndarray:
        """Shape (prediction_length,): the seasonal-naive forecast."""
        season = target[-self.season_length :]
        return season[np.arange(self.prediction_length) % len(season)]

    def growth(self, target: np.ndarray) -> np.ndarray:
        """Shape (samples, prediction_length): the past's values over its seasonal-naive forecasts."""
        last = len(target) - self.prediction_length
        first = max(self.season_length, last + 1 - self.seasons * self.season_length)
        ratios = [
            target[start : start + self.prediction_length] / self.last_season(target[:start])
            for start in range(first, last + 1)
        ]
        return np.array(ratios or [np.ones(self.prediction_length)])
