"""The code channel: from a folder, an archive or a requirements file to modules that can be imported.

In the order in which it is travelled:

    channel       installs it, and starts this program again with it on the path
    contents      a walk over its folders that ends in a Plan
    archives      unpacks tar and zip files within a budget
    installation  a Plan -> a folder that can be put on the path
    requirements  requirement files as lines, each with its place
    wheels        wheels and source distributions as files
    pip           the one place that runs pip
    reasons       what pip said when it failed -> one sentence
    masking       takes secrets out of text before anybody reads it
"""
