"""GluonTS's side: forecasters, data sets, training, evaluation, prediction. Knows neither HTTP nor AWS."""
