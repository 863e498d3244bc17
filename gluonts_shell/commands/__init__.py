"""One file a command; each composes the three worlds. `training` holds the parts of `train`."""
