"""GluonTS's side. It knows neither HTTP nor AWS.

`data`         a channel's files and a request's instances -> entries of GluonTS
`distributed`  one training by several processes
`evaluation`   forecasts and what came -> scores
`forecaster`   a name and hyperparameters -> an Estimator or Predictor
`lightning`    best weights, checkpoints and batches of a training with Lightning
`plan`         a job's hyperparameters and channels -> what will be trained, on what
`training`     an estimator and data -> a trained predictor
`artifact`     a model's folder <-> a predictor
`contract`     what a model promises: frequency, horizon, features
`forecasts`    what a forecast of any kind has
`shortcuts`    what makes GluonTS faster where it is what it is known to be
`memory`       what makes a worker smaller
`checks`       a job looked at before anybody pays for it
`report`       a job that ends -> a page to look at
`service`      a loaded model -> answers
"""
