"""The table: every forecaster of GluonTS 0.17 that can be named, with what it is run with and what must come of it.

`test_table.py` holds it against the installed GluonTS, `test_journeys.py` runs it, and docs/forecasters.md shows it.
"""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Row:
    """path: as users write it. given: hyperparameters besides freq and prediction_length.

    forecasts: "samples", "distribution" (both answer everything), "quantiles" (a mean and levels), or "mean" alone.
    draws: "same" where random numbers are in the forecasts, and the same after the same seed; "own" where each quantile
    that is asked for is drawn anew, so that values can only be compared roughly. needs: the package without which there is no such forecaster,
    and install: what brings it. cannot: why GluonTS itself cannot save and serve it; the job says so before it ends.
    """

    path: str
    given: dict[str, str] = field(default_factory=dict)
    forecasts: str = "samples"
    draws: Literal["", "same", "own"] = ""
    needs: str | None = None
    install: str = ""
    data: str = "monthly"
    cannot: str = ""

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def trained(self) -> bool:
        return self.name.endswith("Estimator")

    @property
    def here(self) -> bool:
        """Whether what it needs is installed; rpy2 is nothing without R."""
        if self.needs == "rpy2" and shutil.which("Rscript") is None:
            return False
        return self.needs is None or importlib.util.find_spec(self.needs) is not None


def rows(package: str, needs: str | None, install: str, *found: Row) -> tuple[Row, ...]:
    """With what they have in common filled in; their paths begin with the package."""
    return tuple(
        Row(
            f"{package}.{row.path}",
            row.given,
            row.forecasts,
            row.draws,
            needs,
            install,
            row.data,
            row.cannot,
        )
        for row in found
    )


def network(
    path: str,
    forecasts: str,
    *,
    draws: Literal["", "same", "own"] = "",
    data: str = "monthly",
    **given: str,
) -> Row:
    """A torch estimator, as small as it can be. Quantiles of a distribution without an inverse are drawn."""
    small = {"epochs": "1", "num_batches_per_epoch": "2", "batch_size": "4"}
    return Row(path, {**small, **given}, forecasts, draws, data=data)


ENCODER = {"d_model": "4", "nhead": "1", "dim_feedforward": "4", "num_encoder_layers": "1"}
LEVELS = {"quantile_levels": "[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]"}
YEAR = {"season_length": "12"}

PLAIN = rows(
    "gluonts.model",
    None,
    "",
    Row("npts.NPTSPredictor", draws="same"),
    Row(
        "seasonal_agg.SeasonalAggregatePredictor",
        {**YEAR, "num_seasons": "2", "agg_fun": "numpy.nanmedian"},
    ),
    Row("seasonal_naive.SeasonalNaivePredictor", YEAR),
    Row("trivial.constant.ConstantPredictor", {"samples": "[[1, 2, 3], [4, 5, 6]]"}),
    Row("trivial.constant.ConstantValuePredictor", {"value": "100.0"}),
    Row("trivial.identity.IdentityPredictor", {"num_samples": "10"}),
    Row("trivial.mean.MeanEstimator", {"num_samples": "10"}),
    Row("trivial.mean.MeanPredictor", draws="same"),
    Row("trivial.mean.MovingAveragePredictor", {"context_length": "6"}),
)
TORCH = rows(
    "gluonts.torch.model",
    "torch",
    "gluonts-shell[torch]",
    network("d_linear.DLinearEstimator", "distribution", context_length="24", hidden_dimension="4"),
    network(
        "deep_npts.DeepNPTSEstimator",
        "samples",
        draws="own",
        context_length="12",
        num_hidden_nodes="[4]",
        network_type="DeepNPTSNetworkSmooth",
        input_scaling="standard_normal_scaling",
    ),
    network(
        "deepar.DeepAREstimator",
        "samples",
        draws="same",
        context_length="12",
        hidden_size="4",
        num_layers="1",
        lags_seq="[1, 12]",
    ),
    network(
        "i_transformer.ITransformerEstimator",
        "distribution",
        draws="own",
        data="macro",
        context_length="12",
        **ENCODER,
    ),
    network("lag_tst.LagTSTEstimator", "distribution", lags_seq="[1, 12]", **ENCODER),
    network(
        "mqf2.MQF2MultiHorizonEstimator",
        "distribution",
        draws="own",
        context_length="12",
        hidden_size="4",
        num_layers="1",
        lags_seq="[1, 12]",
        icnn_hidden_size="4",
        es_num_samples="5",
    ),
    network(
        "patch_tst.PatchTSTEstimator", "distribution", patch_len="4", context_length="24", **ENCODER
    ),
    network(
        "simple_feedforward.SimpleFeedForwardEstimator",
        "distribution",
        context_length="24",
        hidden_dimensions="[4]",
    ),
    network(
        "tft.TemporalFusionTransformerEstimator",
        "quantiles",
        context_length="12",
        hidden_dim="4",
        variable_dim="4",
        num_heads="1",
    ),
    network(
        "tide.TiDEEstimator",
        "distribution",
        encoder_hidden_dim="4",
        decoder_hidden_dim="4",
        temporal_hidden_dim="4",
        num_layers_encoder="1",
        num_layers_decoder="1",
    ),
    network(
        "wavenet.WaveNetEstimator",
        "samples",
        draws="same",
        num_residual_channels="2",
        num_skip_channels="2",
        num_parallel_samples="10",
    ),
)
STATSFORECAST = rows(
    "gluonts.ext.statsforecast",
    "statsforecast",
    "gluonts[statsforecast]",
    Row("ADIDAPredictor", {}, "mean"),
    Row("AutoARIMAPredictor", LEVELS, "quantiles"),
    Row("AutoCESPredictor", LEVELS, "quantiles", draws="same"),
    Row("AutoETSPredictor", LEVELS, "quantiles"),
    Row("AutoThetaPredictor", LEVELS, "quantiles", draws="same"),
    Row("CrostonClassicPredictor", {}, "mean"),
    Row("CrostonOptimizedPredictor", {}, "mean"),
    Row("CrostonSBAPredictor", {}, "mean"),
    Row("DynamicOptimizedThetaPredictor", LEVELS, "quantiles", draws="same"),
    Row("DynamicThetaPredictor", LEVELS, "quantiles", draws="same"),
    Row("HistoricAveragePredictor", LEVELS, "quantiles"),
    Row("HoltPredictor", LEVELS, "quantiles"),
    Row("HoltWintersPredictor", {**LEVELS, **YEAR}, "quantiles"),
    Row("IMAPAPredictor", {}, "mean"),
    Row("MSTLPredictor", {**LEVELS, **YEAR}, "quantiles"),
    Row("NaivePredictor", LEVELS, "quantiles"),
    Row("OptimizedThetaPredictor", LEVELS, "quantiles", draws="same"),
    Row("RandomWalkWithDriftPredictor", LEVELS, "quantiles"),
    Row("SeasonalExponentialSmoothingPredictor", {**YEAR, "alpha": "0.5"}, "mean"),
    Row("SeasonalExponentialSmoothingOptimizedPredictor", YEAR, "mean"),
    Row("SeasonalNaivePredictor", {**LEVELS, **YEAR}, "quantiles"),
    Row("SeasonalWindowAveragePredictor", {**YEAR, "window_size": "2"}, "mean"),
    Row("SimpleExponentialSmoothingPredictor", {"alpha": "0.3"}, "mean"),
    Row("SimpleExponentialSmoothingOptimizedPredictor", {}, "mean"),
    Row("TSBPredictor", {"alpha_d": "0.2", "alpha_p": "0.2"}, "mean"),
    Row("ThetaPredictor", LEVELS, "quantiles", draws="same"),
    Row("WindowAveragePredictor", {"window_size": "6"}, "mean"),
)
HIERARCHY = {
    "base_model": "statsforecast.models.AutoETS",
    "reconciler": "hierarchicalforecast.methods.BottomUp",
    "S": "[[1, 1], [1, 0], [0, 1]]",
}
R_HIERARCHY = {
    "is_hts": "true",
    "target_dim": "3",
    "num_bottom_ts": "2",
    "nodes": "[2]",
    "method_name": "bottom_up",
    "fmethod": "ets",
}
UNSAVED = "cannot be served: rotbaum's models do not forecast once they are read back"
OTHERS = (
    *rows(
        "gluonts.ext.hierarchicalforecast",
        "hierarchicalforecast",
        "gluonts[hierarchicalforecast]",
        Row(
            "HierarchicalForecastPredictor", {**HIERARCHY, **LEVELS}, "quantiles", data="hierarchy"
        ),
    ),
    *rows("gluonts.ext.naive_2", "statsmodels", "statsmodels", Row("Naive2Predictor", YEAR)),
    *rows(
        "gluonts.ext.prophet", "prophet", "gluonts[prophet]", Row("ProphetPredictor", draws="same")
    ),
    *rows(
        "gluonts.ext.r_forecast",
        "rpy2",
        "gluonts[r]",
        Row("RForecastPredictor", {"method_name": "ets"}, draws="same"),
        Row("RHierarchicalForecastPredictor", R_HIERARCHY, draws="same", data="hierarchy"),
    ),
    *rows(
        "gluonts.ext.rotbaum",
        "xgboost",
        "gluonts[rotbaum]",
        Row("TreeEstimator", {"model_params": '{"n_estimators": 5}'}, "quantiles", cannot=UNSAVED),
        Row(
            "TreePredictor",
            {},
            "quantiles",
            cannot="cannot be named: it forecasts only after TreeEstimator trained it",
        ),
    ),
)
ROWS = (*PLAIN, *TORCH, *STATSFORECAST, *OTHERS)

# Classes of GluonTS that are no forecasters by themselves, and why
NONE = {
    "Estimator": "the root",
    "Predictor": "the root",
    "RepresentablePredictor": "a base: it has no predict_item",
    "Localizer": "wraps an estimator, and cannot be saved",
    "ParallelizedPredictor": "wraps a predictor, and cannot be saved",
    "PyTorchLightningEstimator": "a base of torch's estimators",
    "PyTorchPredictor": "what torch's estimators return: a trained network",
    "RBasePredictor": "a base of R's predictors",
    "StatsForecastPredictor": "a base: it names no model",
    "ThirdPartyEstimator": "a base of TreeEstimator",
}


def as_table() -> str:
    """The manual's table of what was run, class by class."""
    lines = ["| forecaster | forecasts | needs |", "| --- | --- | --- |"]
    for row in sorted(ROWS, key=lambda row: (not row.trained, row.path)):
        answers = row.cannot or ANSWERS[row.forecasts]
        lines.append(f"| `{row.path}` | {answers} | {f'`{row.install}`' if row.install else ''} |")
    return "\n".join(lines)


ANSWERS = {
    "samples": "mean, quantiles, samples",
    "distribution": "mean, quantiles, samples",
    "quantiles": "mean, quantiles",
    "mean": "mean",
}
