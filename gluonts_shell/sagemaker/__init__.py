"""AWS's side of a job: the /opt/ml tree, its configuration files, the code channel, the failure file.

Standard library only, since all of it runs before the user's own code (and perhaps GluonTS) is installed.

    paths            the /opt/ml tree
    job              what SageMaker told a training container: hyperparameters, channels, hosts
    hosts            the hosts of one job: they meet, and each knows how the others fare
    network          the interface by which they talk
    hyperparameters  hyperparameters.json without the wire's accidents
    modeldir         what lies in a model folder that holds no model
    failure          an exception -> output/failure and the exit status
    code/            the user's own code, from the channel to the path
"""
