"""A model, or a predictor that a request names, asked as HTTP and batch jobs ask: plain values in, plain values out.

service        what the server needs of a model: configure, prepare, predict
configuration  the `configuration` object of a request, checked
outputs        GluonTS forecasts -> predictions, and what is answered where a forecast does not have it
canary         a few series with their forecasts, kept beside the model to see that it still says the same
allowed        which Predictors a request may name
named          how one is built from what the client sent
example        a minimal request that a model answers
plain          values from a request against a parameter's annotation, without evaluating any
fallback       the predictor that stands in where the model is late
"""
