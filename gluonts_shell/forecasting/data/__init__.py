"""What SageMaker's channels and requests hold -> data sets and entries of GluonTS, checked series by series.

channel      a channel's folder -> a data set, held in memory or read anew in each pass
files        the folder's files, their formats, JSON Lines, and the folders of a partitioned table
tables       parquet and Arrow -> rows as JSON would have them
instances    one row or instance -> one entry, for the features that a model wants
fields       start and target: what they must be
covariates   the fields beside them: categories, numbers, features over time, fields of the user's own
naming       categories that are text, covariates by name
frequency    frequencies as users write them -> the spelling of pandas periods
statistics   what all series together are like: for the log, for derived arguments, for sentences
"""
