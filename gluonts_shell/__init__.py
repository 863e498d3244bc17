"""SageMaker's train and serve for any GluonTS forecaster. This file is the map; it imports nothing.

Two journeys, each one readable file:
    `commands/train.py`   job -> code channel -> forecaster -> channels -> fit -> model and metrics
    `commands/serve.py`   model -> predictor -> app -> workers on one socket (endpoint or batch transform)

Three worlds, which never import each other; only `commands` composes them:
    `sagemaker`     AWS's contract and the disk; standard library only
    `forecasting`   GluonTS; knows neither HTTP nor AWS
    `serving`       HTTP, processes, threads; standard library only

Imports go one way: cli -> commands -> {sagemaker, forecasting, serving} -> settings, messages, log -> errors.
Nothing but the standard library is imported before the code channel is installed and the process re-executed,
because that code may bring a GluonTS of its own.
"""

__version__ = "0.2.0"
