"""One file a command; each composes the three worlds. `rehearsal` is a part of `train`: the saved model is tried."""
