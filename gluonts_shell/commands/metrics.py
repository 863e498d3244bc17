"""The metric definitions of our log, as JSON for CreateTrainingJob, CreateHyperParameterTuningJob and the SDK."""

from __future__ import annotations

import json

# SageMaker: at most 40 definitions; the first group of the regex is the value (AWS, "Define Training Metrics").
SCORES = (
    "MASE",
    "MAPE",
    "sMAPE",
    "MSIS",
    "ND",
    "NRMSE",
    "MSE",
    "mean_absolute_QuantileLoss",
    "calibration_error",
)
NUMBER = r"(-?[0-9]+\.?[0-9]*)"
# DeepAR's own three come first; its tuning jobs name them as objectives.
DEFINITIONS = (
    ("test:RMSE", rf"#quality_metric: host=\S+, test RMSE <loss>={NUMBER}"),
    (
        "test:mean_wQuantileLoss",
        rf"#quality_metric: host=\S+, test mean_wQuantileLoss <loss>={NUMBER}",
    ),
    ("train:final_loss", rf"#quality_metric: host=\S+, train final_loss <loss>={NUMBER}"),
    ("train:loss", rf"#quality_metric: host=\S+, epoch=\S+, train loss <loss>={NUMBER}"),
    ("validation:loss", rf"#quality_metric: host=\S+, epoch=\S+, validation loss <loss>={NUMBER}"),
    ("train:progress", rf"#progress_metric: host=\S+, completed {NUMBER} % of epochs"),
    (
        "train:throughput",
        rf"#throughput_metric: host=\S+, train throughput={NUMBER} records/second",
    ),
    *((f"test:{name}", rf"#test_score \(\S+, {name}\): {NUMBER}") for name in SCORES),
    *(
        (f"test:wQuantileLoss0.{i}", rf"#test_score \(\S+, wQuantileLoss\[0\.{i}\]\): {NUMBER}")
        for i in range(1, 10)
    ),
)


def run() -> int:
    """Prints [{"Name": ..., "Regex": ...}, ...]; the names are those of DeepAR where it has one."""
    definitions = []
    for name, regex in DEFINITIONS:
        definitions.append({"Name": name, "Regex": regex})
    print(json.dumps(definitions, indent=2))  # noqa: T201
    return 0
