"""One training by several processes: on several hosts, on several accelerators of each.

`ranks`    which of the processes this is, its share of the work, and what Lightning and torch are told of it
`covariates`   what all hosts make of covariates by name
`shards`   what all hosts know of a channel of which each has a share
"""
