"""Batch transform: lines in, as many lines out, from requests or from files. It does not know what predicts.

job       the policy: a body of lines -> its answers, and the job's configuration
outcomes  what became of each series: a prediction or an error
timeout   predictions with a time limit, from a process that can be killed
inputs    which files there are, and their pieces
progress  how far a long command is
"""
