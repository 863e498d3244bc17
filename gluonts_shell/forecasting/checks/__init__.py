"""What can be known of a job before anybody pays for it.

summary   a channel's series in figures that a person can judge
trial     a few batches of a training: seconds of an epoch, size of the model
"""
