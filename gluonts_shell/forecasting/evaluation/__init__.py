"""Forecasts of test series -> the scores that GluonTS users compare and tuning jobs read.

evaluate  a predictor and test data -> metrics, log lines and files
scores    pairs each series with its forecast and measures the pairs in batches
formulas  the metrics of GluonTS's evaluators, for many series at once
baseline  the seasonal naive forecast, with which each forecaster is compared
details   what a report shows beyond the scores
examples  the best, the median and the worst of the series
"""
