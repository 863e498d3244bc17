"""Names of GluonTS's forecasters, and where GluonTS 0.17 keeps each: tables, which import nothing.

A name that a client sends is looked up here before, and mostly instead of, any import.
"""

from __future__ import annotations

ESTIMATORS = (
    "gluonts.ext.rotbaum.TreeEstimator",
    "gluonts.model.trivial.mean.MeanEstimator",
    "gluonts.torch.model.d_linear.DLinearEstimator",
    "gluonts.torch.model.deep_npts.DeepNPTSEstimator",
    "gluonts.torch.model.deepar.DeepAREstimator",
    "gluonts.torch.model.i_transformer.ITransformerEstimator",
    "gluonts.torch.model.lag_tst.LagTSTEstimator",
    "gluonts.torch.model.mqf2.MQF2MultiHorizonEstimator",
    "gluonts.torch.model.patch_tst.PatchTSTEstimator",
    "gluonts.torch.model.simple_feedforward.SimpleFeedForwardEstimator",
    "gluonts.torch.model.tft.TemporalFusionTransformerEstimator",
    "gluonts.torch.model.tide.TiDEEstimator",
    "gluonts.torch.model.wavenet.WaveNetEstimator",
)
STATSFORECAST = tuple(
    f"gluonts.ext.statsforecast.{name}Predictor"
    for name in (
        "ADIDA",
        "AutoARIMA",
        "AutoCES",
        "AutoETS",
        "AutoTheta",
        "CrostonClassic",
        "CrostonOptimized",
        "CrostonSBA",
        "DynamicOptimizedTheta",
        "DynamicTheta",
        "HistoricAverage",
        "Holt",
        "HoltWinters",
        "IMAPA",
        "MSTL",
        "Naive",
        "OptimizedTheta",
        "RandomWalkWithDrift",
        "SeasonalExponentialSmoothing",
        "SeasonalExponentialSmoothingOptimized",
        "SeasonalNaive",
        "SeasonalWindowAverage",
        "SimpleExponentialSmoothing",
        "SimpleExponentialSmoothingOptimized",
        "TSB",
        "Theta",
        "WindowAverage",
    )
)
# They compute with numpy what their few parameters say: no file, no process, no network. A request may name them.
HARMLESS = frozenset(
    {
        "gluonts.model.npts.NPTSPredictor",
        "gluonts.model.seasonal_agg.SeasonalAggregatePredictor",
        "gluonts.model.seasonal_naive.SeasonalNaivePredictor",
        "gluonts.model.trivial.constant.ConstantPredictor",
        "gluonts.model.trivial.constant.ConstantValuePredictor",
        "gluonts.model.trivial.identity.IdentityPredictor",
        "gluonts.model.trivial.mean.MeanPredictor",
        "gluonts.model.trivial.mean.MovingAveragePredictor",
        *STATSFORECAST,
    }
)
# R runs in the process, prophet compiles and writes files, the others bring whole libraries: an operator allows them.
OTHERS = (
    "gluonts.ext.hierarchicalforecast.HierarchicalForecastPredictor",
    "gluonts.ext.naive_2.Naive2Predictor",
    "gluonts.ext.prophet.ProphetPredictor",
    "gluonts.ext.r_forecast.RForecastPredictor",
    "gluonts.ext.r_forecast.RHierarchicalForecastPredictor",
    "gluonts.ext.rotbaum.TreePredictor",
)
PREDICTORS = frozenset({*HARMLESS, *OTHERS})
# statsforecast has a seasonal naive of its own, which only its whole path names
SHORT_NAMES = {
    path.rpartition(".")[2]: path
    for path in sorted((*PREDICTORS, *ESTIMATORS))
    if path != "gluonts.ext.statsforecast.SeasonalNaivePredictor"
}
# Packages of GluonTS's extras, and what to install to have them.
EXTRAS = {
    **dict.fromkeys(("torch", "lightning", "pytorch_lightning", "scipy"), "gluonts-shell[torch]"),
    "statsforecast": "gluonts[statsforecast]",
    "prophet": "gluonts[prophet]",
    "rpy2": "gluonts[r]",
    "lightgbm": "gluonts[rotbaum]",
    "xgboost": "gluonts[rotbaum]",
    "hierarchicalforecast": "gluonts[hierarchicalforecast]",
    "statsmodels": "statsmodels",
}
# What is imported for the forecasters of each package, in the order in which it is missed.
NEEDS = {
    "gluonts.ext.hierarchicalforecast": ("statsforecast", "hierarchicalforecast"),
    "gluonts.ext.naive_2": ("statsmodels",),
    "gluonts.ext.prophet": ("prophet",),
    "gluonts.ext.r_forecast": ("rpy2",),
    "gluonts.ext.rotbaum": ("xgboost",),
    "gluonts.ext.statsforecast": ("statsforecast",),
    "gluonts.torch": ("torch", "lightning"),
}


def needs(path: str) -> list[tuple[str, str]]:
    """The packages without which there is no forecaster at this path, each with what to install to have it."""
    packages: tuple[str, ...] = ()
    for home, needed in NEEDS.items():
        if path.startswith(f"{home}."):
            packages += needed
    return [(package, remedy(path, package)) for package in packages]


def remedy(path: str, package: str) -> str:
    """What to install where `package` is missed; an extra that is named after the module brings all that it needs."""
    home = path.removeprefix("gluonts.ext.").partition(".")[0]
    return EXTRAS[home if home in EXTRAS else package]


def class_path(kind: type) -> str:
    """The path by which a class is named: the public one for GluonTS's own."""
    public = SHORT_NAMES.get(kind.__qualname__)
    actual = f"{kind.__module__}.{kind.__qualname__}"
    if public is None or not actual.startswith(public.rpartition(".")[0]):
        return actual
    return public


def today(name: str) -> str:
    """The path of a short name, and of a path of GluonTS's time with mxnet or of its private modules."""
    path = SHORT_NAMES.get(name, name)
    if path in PREDICTORS or not path.startswith(("gluonts.model.", "gluonts.mx.", "gluonts.ext.")):
        return path
    public = path.replace("._predictor.", ".")
    if public in PREDICTORS or path.startswith("gluonts.ext."):
        return public
    return SHORT_NAMES.get(path.rpartition(".")[2], path)
