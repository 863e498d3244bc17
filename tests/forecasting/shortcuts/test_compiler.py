"""Lightning is imported without torch's compiler, which is there as ever for those who use it.

Each test has a process of its own, because an import cannot be taken back.
"""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.torch


def ran(script, *arguments):
    subprocess.run([sys.executable, "-W", "ignore", "-c", script, *arguments], check=True)


def test_no_forecaster_of_gluonts_needs_it_to_forecast(tmp_path):
    saved = """
import importlib, sys
from pathlib import Path

ESTIMATORS = {
    "deepar.DeepAREstimator": {"freq": "D"},
    "tide.TiDEEstimator": {"freq": "D"},
    "tft.TemporalFusionTransformerEstimator": {"freq": "D"},
    "patch_tst.PatchTSTEstimator": {"patch_len": 2},
    "simple_feedforward.SimpleFeedForwardEstimator": {},
    "d_linear.DLinearEstimator": {},
    "lag_tst.LagTSTEstimator": {"freq": "D", "lags_seq": [1, 2]},
    "wavenet.WaveNetEstimator": {"freq": "D"},
    "i_transformer.ITransformerEstimator": {},
}
for path, arguments in ESTIMATORS.items():
    module, _, name = path.partition(".")
    estimator = getattr(importlib.import_module(f"gluonts.torch.model.{module}"), name)(
        prediction_length=3, **arguments
    )
    predictor = estimator.create_predictor(
        estimator.create_transformation(), estimator.create_lightning_module()
    )
    folder = Path(sys.argv[1], name)
    folder.mkdir()
    predictor.serialize(folder)
"""
    loaded = """
import sys
from pathlib import Path
from gluonts_shell.forecasting import artifact
from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.service.allowed import Rule
from gluonts_shell.forecasting.service.service import Forecasting, start_worker

def heavy():
    return {name for name in sys.modules if name.startswith(("torch", "lightning", "sympy"))}

start_worker(1)
folders = sorted(Path(sys.argv[1]).iterdir())
assert len(folders) == 9
for folder in folders:
    predictor, _ = artifact.load(folder)
    there = heavy()
    several = folder.name == "ITransformerEstimator"
    target = [[1.0] * 60] * 2 if several else [1.0] * 60
    features = Features(dimensions=2 if several else 1)
    contract = Contract("D", 3, folder.name, features=features)
    service = Forecasting((predictor, contract), Rule())
    configuration = service.configure({"num_samples": 5})
    call = service.prepare([{"start": "2024-01-01", "target": target}], configuration)
    ((prediction,),) = service.predict([call])
    assert prediction.quantiles
    assert "lightning.pytorch" in sys.modules
    assert "torch._dynamo" not in sys.modules, folder.name
    assert heavy() == there, "each worker would import it"
"""
    ran(saved, str(tmp_path))
    ran(loaded, str(tmp_path))


def test_it_is_imported_by_who_uses_it_and_lightning_knows_what_it_made():
    ran("""
import sys
from gluonts_shell.forecasting.shortcuts import compiler

compiler.import_lightning()
import torch
from lightning.fabric import wrappers
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultCollection

plain = torch.nn.Linear(2, 2)
assert not isinstance(plain, wrappers.OptimizedModule)
results = _ResultCollection(training=True)
marked = compiler.disable(lambda: torch.compiler.is_compiling(), reason="to see it")
assert marked() is False
assert "torch._dynamo" not in sys.modules

compiled = torch.compile(plain, backend="eager")
assert isinstance(compiled, torch._dynamo.OptimizedModule)
assert isinstance(compiled, wrappers.OptimizedModule)
assert not isinstance(plain, wrappers.OptimizedModule)
found = []

def seen(tensor):
    found.append(marked())
    found.append(torch.compiler.is_compiling())
    return tensor + 1

torch.compile(seen, backend="eager")(torch.ones(1))
assert found == [False, True], found
""")


def test_lightning_trains_as_ever(tmp_path):
    ran(
        """
import sys
from gluonts_shell.forecasting.shortcuts import compiler

compiler.import_lightning()
from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator
import numpy as np, pandas as pd

estimator = SimpleFeedForwardEstimator(
    prediction_length=2,
    context_length=2,
    num_batches_per_epoch=1,
    trainer_kwargs={"max_epochs": 1, "default_root_dir": sys.argv[1]},
)
data = [{"start": pd.Period("2024-01-01", "D"), "target": np.arange(20.0, dtype=np.float32)}]
(forecast,) = estimator.train(data).predict(data)
assert np.isfinite(forecast.mean).all()
assert hasattr(sys.modules["torch._dynamo"], "graph_break"), "the optimizer has the real one"
""",
        str(tmp_path),
    )


def test_other_versions_are_imported_as_they_want_it():
    ran("""
import sys
from gluonts_shell.forecasting.shortcuts import compiler

for name, known in [*compiler.KNOWN.items()]:
    compiler.KNOWN[name] = "0.0"
    compiler.import_lightning()
    assert not {"lightning.pytorch", "torch._dynamo"} & set(sys.modules)
    compiler.KNOWN[name] = known
import lightning.pytorch
assert hasattr(sys.modules["torch._dynamo"], "graph_break")
compiler.import_lightning()
assert hasattr(sys.modules["torch._dynamo"], "graph_break")
""")
