"""A job's hyperparameters, which are flat and are text.

arguments    which of them goes where, and what is said of those that nobody takes
annotations  what an annotation asks for
values       text or JSON -> the value, object, class or function that an annotation asks for
trainers     what an estimator's trainer takes
options      the shell's own
"""
