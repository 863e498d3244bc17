"""What only `train` needs.

rehearsal  the saved model, tried in a process of its own
several    the hosts of one job
"""
