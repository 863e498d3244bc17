"""The forecaster that a job names, and what it is constructed with.

names            a name -> the class; every way in which a name can lead nowhere has its sentence
catalog          where GluonTS keeps its forecasters, and what each needs: tables, which import nothing
known            a name that a client sent -> a class that it may name
objects          a dotted path or a bare name -> the class or the function that it means
constructors     which parameters a class takes, and how it is made
faults           what can be known to be wrong before anything is trained
savable          whether a class can be saved
hyperparameters  flat text -> typed arguments, the trainer's arguments, and the shell's own options
deepar           the built-in algorithm's vocabulary
features         what a forecaster uses of its data
"""
