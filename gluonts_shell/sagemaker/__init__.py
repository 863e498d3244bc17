"""AWS's side of a training job: the /opt/ml tree, its configuration files, the code channel, the failure file.

Standard library only, since all of it runs before the user's own code (and perhaps GluonTS) is installed.
"""
