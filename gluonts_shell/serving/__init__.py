"""HTTP, processes and threads. Standard library only; it knows neither GluonTS nor SageMaker's folders.

`metrics`     what a server tells of itself in numbers
`http`        bytes on a socket <-> requests and responses
`processes`   the parent, its workers, and what stands in for those that are silent
`endpoint`    routes, the protocol of DeepAR, predictions that join
`models`      many models behind one port, a process for each
`batch`       batch transform: lines in, lines out, whoever runs it
`blame`       what is said of a failure

A room imports only those above it in this list, and `blame`.
"""
