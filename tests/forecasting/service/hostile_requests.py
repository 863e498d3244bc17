"""A child process of test_hostile_requests.py: handles random hostile requests and tells what they made it do.

An audit hook cannot be removed, so that it needs a process of its own.
"""

import difflib  # noqa: F401 - nearby imports it for the first mistake, and imports are what is watched for
import importlib
import json
import logging
import os
import random
import sys
import types
from pathlib import Path

from gluonts_shell.errors import ShellError
from gluonts_shell.forecasting.forecaster import catalog, constructors, known
from gluonts_shell.forecasting.service.allowed import Rule
from gluonts_shell.forecasting.service.service import Forecasting

OWNERS = """
import enum, os, subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, Literal, Optional, Tuple, Type, Union
import numpy as np
from gluonts.core.component import validated
from gluonts.model.forecast import SampleForecast
from gluonts.model.trivial.constant import ConstantValuePredictor
from gluonts.transform.sampler import InstanceSampler

class Colour(enum.Enum):
    RED = "red"
    BLUE = 2

class Rich(ConstantValuePredictor):
    @validated()
    def __init__(self, prediction_length: int, function: Callable = np.mean, maybe: Optional[Callable] = None,
                 either: Union[str, Callable] = "a", kind: Type = int, default=int, path: Optional[Path] = None,
                 sampler: Optional[InstanceSampler] = None, table: Dict[str, Any] = {}, rows: List[List[float]] = [],
                 pair: Tuple[int, str] = (1, "a"), array: Optional[np.ndarray] = None, colour: Colour = Colour.RED,
                 word: Literal["a", 1, None] = "a", anything=None, flag: bool = False, count: Union[int, float] = 1):
        super().__init__(prediction_length=prediction_length)

class More(ConstantValuePredictor):
    def __init__(self, prediction_length: int, **more):
        super().__init__(prediction_length=prediction_length)
        self.more = more
"""
TEXTS = (
    "1e12",
    "1_000_000_000",
    "\uff11\uff12",
    "[1]",
    "{'a': 1}",
    "null",
    "None",
    "true",
    "nan",
    "",
    "os.mkdir",
    "np.mean",
    "__import__('os').mkdir('owned')",
    "lambda: 1",
    "[0] * 10**9",
    "Embedding",
    "LastValueImputation",
    "red",
    "RED",
    "exponential",
    "D",
    "subprocess.Popen",
    "builtins.eval",
    "gluonts.itertools.Map",
    "__kind__",
    "()",
    "/etc/passwd",
)
CLASSES = (
    "os.mkdir",
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "builtins.list",
    "list",
    "gluonts.itertools.Map",
    "torch.nn.Embedding",
    "pathlib.Path",
    "antigravity.geohash",
    "collections.OrderedDict",
    "numpy.load",
    "pandas.read_pickle",
)
BASES = {
    "num_samples": 3,
    "season_length": 1,
    "num_seasons": 1,
    "samples": [[1, 2], [3, 4]],
    "prediction_length": 2,
}
WATCHED = ("import", "exec", "compile", "os.", "subprocess.", "ctypes.", "socket.", "shutil.", "marshal.", "pickle.", "glob.",
           "tempfile.", "pty.", "syslog.", "urllib.", "webbrowser.", "code.", "mmap.", "sqlite3.")  # fmt: skip


class Watch:
    """What happened while `on`. An import of a module that a library needs late is not a client's doing."""

    def __init__(self, late):
        self.on, self.seen, self.late = False, [], late
        sys.addaudithook(self.hook)

    def hook(self, event, given):
        if not self.on:
            return
        if event == "open":
            _, mode, flags = given
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or flags & (
                os.O_WRONLY | os.O_RDWR | os.O_CREAT
            )
            if not writes:
                return
        elif not event.startswith(WATCHED) or (
            event == "import" and given[0].partition(".")[0] in self.late
        ):
            return
        self.seen.append((event, repr(given)[:200]))


class Hostile:
    """JSON as an attacker writes it."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def atom(self):
        numbers = (
            0,
            1,
            2,
            -1,
            5.0,
            1.5,
            10**6,
            10**7,
            10**12,
            10**30,
            1e300,
            float("nan"),
            float("inf"),
        )
        return self.random.choice(
            (self.random.choice(numbers), self.random.choice(TEXTS), True, False, None)
        )

    def nest(self, depth=0):
        chance = self.random.random()
        if depth > 4 or chance < 0.3:
            return self.atom()
        if chance < 0.45:
            return [self.nest(depth + 1) for _ in range(self.random.randrange(4))]
        if chance < 0.5:
            return {
                self.random.choice(TEXTS): self.nest(depth + 1)
                for _ in range(self.random.randrange(3))
            }
        if chance < 0.6:
            return {
                "()": self.random.choice(("Embedding", "Linear", *CLASSES)),
                "num_embeddings": 1000000,
                "embedding_dim": 1000,
            }
        if chance < 0.75:
            return self.spelled(json.dumps(self.nest(depth + 1)))  # a text that holds such a nest
        if chance < 0.8:
            return repr(self.nest(depth + 1))
        return self.kind(depth)

    def kind(self, depth):
        made = {
            "__kind__": self.random.choice(("instance", "type", "stateful")),
            "class": self.random.choice(CLASSES),
        }
        if self.random.random() < 0.7:
            made["args"] = [self.nest(depth + 1) for _ in range(self.random.randrange(3))]
        if self.random.random() < 0.5:
            made["kwargs"] = {"fn": self.nest(depth + 1), "iterable": ["owned"]}
        return made

    def spelled(self, text):
        """The same JSON, with some characters of its keys as escapes."""
        if self.random.random() < 0.3:
            return text
        for key in ("__kind__", "class", "()"):
            written = "".join(f"\\u{ord(c):04x}" if self.random.random() < 0.4 else c for c in key)
            text = text.replace(f'"{key}"', f'"{written}"')
        return text


def without_statsforecast():
    """Stands in for the package, so that GluonTS's wrappers of it can be built and asked."""

    class Model:
        def __init__(self, **given):
            self.given = given

        def forecast(self, y, h, level=()):
            import numpy as np

            return {
                "mean": np.zeros(h),
                **{f"{side}-{at}": np.zeros(h) for at in level for side in ("lo", "hi")},
            }

    models = types.ModuleType("statsforecast.models")
    for path in catalog.STATSFORECAST:
        setattr(
            models, path.rpartition(".")[2].removesuffix("Predictor"), type("Model", (Model,), {})
        )
    sys.modules |= {
        "statsforecast": types.ModuleType("statsforecast"),
        "statsforecast.models": models,
    }


def ask(service, text):
    configuration = service.configure(json.loads(text)["configuration"])
    call = service.prepare([{"start": "2020-01-01", "target": [1, 2, 3]}], configuration)
    if call.configuration.forecaster:
        service.predict([call])


def main(count):
    logging.disable(logging.CRITICAL)
    code = Path("code")
    code.mkdir()
    (code / "owners.py").write_text(OWNERS)
    sys.path.insert(0, str(code.absolute()))
    without_statsforecast()
    service = Forecasting(None, Rule(installed=known.Installed(code.absolute())))
    good = [*sorted(catalog.HARMLESS), "owners.Rich", "owners.More"]
    # imports what a first request would
    classes = {name: service._rule.find(name) for name in good}
    parameters = {
        name: constructors.constructor_parameters(kind)[0] for name, kind in classes.items()
    }
    base = {
        name: {key: value for key, value in BASES.items() if key in parameters[name]}
        for name in good
    }
    for name in good:
        ask(
            service,
            json.dumps(
                {
                    "configuration": {
                        "forecaster_name": name,
                        "freq": "D",
                        "output_types": ["mean"],
                        **base[name],
                    }
                }
            ),
        )
    bad = [*catalog.OTHERS, *catalog.ESTIMATORS, *CLASSES, "owners.os.mkdir", "owners.subprocess.Popen", "owners.Path",
           "owners.InstanceSampler", "owners.validated", "code.owners.Rich", "owners.Rich.__init__", "this.s"]  # fmt: skip
    hostile, watch = Hostile(11), Watch(late=("encodings", "unicodedata", "stringprep"))
    answered, refused, failed, tried = 0, 0, 0, set()
    for turn in range(count):
        name = good[turn % len(good)] if turn % 10 else hostile.random.choice(bad)
        wanted = [
            *parameters.get(name, base["owners.Rich"]),
            "value",
            "season_length",
            "anything_else",
        ]
        given = dict(base.get(name, {}))
        for key in (
            wanted[turn // len(good) % len(wanted)],
            *hostile.random.choices(wanted, k=turn % 2),
        ):
            given[key] = hostile.nest()
            tried.add((name, key))
        configuration = {"forecaster_name": name, "freq": "D", "output_types": ["mean"], **given}
        text = hostile.spelled(json.dumps({"configuration": configuration}))
        watch.on = True
        try:
            ask(service, text)
            answered += 1
        except ShellError:
            refused += 1
        except Exception:
            failed += 1  # a model that cannot predict with what was legal JSON for it
        finally:
            watch.on = False
    missed = [(name, key) for name in good for key in parameters[name] if (name, key) not in tried]
    heavy = sorted({"torch", "rpy2", "prophet", "antigravity", "this"} & set(sys.modules))
    found = {
        "answered": answered,
        "refused": refused,
        "failed": failed,
        "missed": missed,
        "seen": watch.seen[:20],
        "heavy": heavy,
    }
    found["files"] = sorted(os.listdir())
    # the watch itself is watched: the owner's function, which evaluates, is caught at what these requests did before
    fit = importlib.import_module("gluonts_shell.forecasting.forecaster.hyperparameters.values").fit
    watch.on = True
    fit(json.loads(sys.stdin.read()), object)
    watch.on = False
    found["by the owner's function"] = [event for event, _ in watch.seen]
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
