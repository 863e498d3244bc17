"""What is added to GluonTS's estimators that train with Lightning.

`windows`      the batches of GluonTS's own loader, filled sooner
`epochs`       a callback that keeps the best weights, saves checkpoints and stops when asked to
`checkpoints`  the files of those, and which of them a job goes on from
"""
