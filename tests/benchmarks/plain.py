"""What a training job does, as a script of GluonTS's users does it: plain.py TREE. The peer of the train_ rows."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from pathlib import Path

import numpy as np
import torch
from gluonts.dataset.common import ListDataset

tree = Path(sys.argv[1])
given = json.loads((tree / "input/config/hyperparameters.json").read_text())
module, _, name = given.pop("forecaster_name").rpartition(".")
np.random.seed(int(given["seed"]))
torch.manual_seed(int(given.pop("seed")))
arguments = {
    key: json.loads(value) if value[0] in "[{0123456789" else value for key, value in given.items()
}
freq = arguments["freq"]
kind = getattr(importlib.import_module(module), name)
if "freq" not in inspect.signature(kind).parameters:
    del arguments["freq"]
lines = (tree / "input/data/train/series.json").read_text().splitlines()
entries = [json.loads(line) for line in lines]
for entry in entries:
    if "cat" in entry:
        entry["feat_static_cat"] = entry.pop("cat")
        entry["feat_dynamic_real"] = entry.pop("dynamic_feat")
predictor = kind(**arguments).train(ListDataset(entries, freq=freq))
(tree / "plain").mkdir(exist_ok=True)
predictor.serialize(tree / "plain")
