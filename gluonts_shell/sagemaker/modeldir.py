"""What lies in a model folder that holds no model of GluonTS', said so that a person sees what went wrong with packing.

It looks at names only and opens nothing. What makes a folder a model of GluonTS is known from its documentation:
gluonts-config.json, in older versions type.txt.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
import shlex
from collections.abc import Iterator
from pathlib import Path

from gluonts_shell import staging
from gluonts_shell.errors import some

MODEL = ("gluonts-config.json", "type.txt")
PACKED = (".tar.gz", ".tgz", ".tar", ".zip", ".tar.bz2", ".tar.xz", ".7z")
DEEPEST = 3  # folders that somebody packed one into the other
SHOWN = 4  # names
# the first that fits: a file's name -> what it is a sign of (the built-in DeepAR names its files by the host)
FRAMEWORKS = (
    (
        "model_algo-*",
        "the built-in DeepAR's own files, which cannot be loaded here: train once more with this image",
    ),
    ("saved_model.pb", "a model of TensorFlow"),
    ("*.tflite", "a model of TensorFlow"),
    ("*.keras", "a model of Keras"),
    ("*.h5", "a model of Keras"),
    ("*.mar", "a model of TorchServe"),
    ("*.ckpt*", "a checkpoint of Lightning without GluonTS' files beside it"),
    ("*.cbm", "a model of CatBoost"),
    ("*.bst", "a model of XGBoost"),
    ("xgboost-model*", "a model of XGBoost"),
    ("MLmodel", "a model of MLflow"),
    ("*.onnx", "a model in ONNX"),
    ("*-symbol.json", "a model of MXNet"),
    ("*.params", "a model of MXNet"),
    ("*.joblib", "a model of scikit-learn"),
    ("*.pkl", "a pickled model"),
    ("*.pickle", "a pickled model"),
    ("*.sav", "a pickled model"),
    ("config.json", "a model of Hugging Face's Transformers"),
    ("*.safetensors", "weights of PyTorch without GluonTS' files beside them"),
    ("*.pt*", "weights of PyTorch without GluonTS' files beside them"),
    ("*.bin", "weights without GluonTS' files beside them"),
)


def instead(folder: Path) -> str:
    """The rest of a sentence that begins with `this folder holds no model`; it says what is there instead."""
    if not folder.is_dir():
        return ": it is a file" if folder.exists() else ": there is no such folder"
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return ": it is empty"
    if staging.NAME in names:
        return f": its folder {staging.NAME!r} is what a job left that ended before its model was whole"
    everything = [*names, *_names_below(folder)]
    found = (
        _dangling(folder, names) or _nested(folder) or _packed(everything) or _foreign(everything)
    )
    if found:
        return f": {found}"
    return f": it holds {_shown(names)}, but neither {MODEL[0]!r} nor {MODEL[1]!r}"


def _shown(names: list[str]) -> str:
    return some(list(map(repr, names)), SHOWN)


def _dangling(folder: Path, names: list[str]) -> str:
    for name in MODEL:
        if name in names and not (folder / name).exists():
            return f"its {name!r} is a link that leads nowhere"
    return ""


def _nested(folder: Path) -> str:
    inner = next(filter(_is_model, _below(folder, DEEPEST)), None)
    if inner is None:
        return ""
    name = str(inner.relative_to(folder))
    command = f"tar -C {shlex.quote(name)} -czf model.tar.gz ."
    return f"its folder {name!r} does: pack the files themselves, {command}"


def _is_model(folder: Path) -> bool:
    return not _files(folder).isdisjoint(MODEL)


def _below(folder: Path, depth: int) -> Iterator[Path]:
    for name in sorted(_folders(folder)):
        yield folder / name
        if depth > 1:
            yield from _below(folder / name, depth - 1)


def _names_below(folder: Path) -> list[str]:
    """Of the files in its folders, as seen from it: TensorFlow puts a model into a folder named by its version."""
    found = []
    for inner in _below(folder, DEEPEST):
        below = inner.relative_to(folder)
        found += [str(below / name) for name in sorted(_files(inner))]
    return found


def _files(folder: Path) -> set[str]:
    """Names; none of a folder that may not be looked into."""
    _, _, names = next(os.walk(folder), ("", [], []))
    return set(names)


def _folders(folder: Path) -> set[str]:
    """Names, without those of links."""
    _, names, _ = next(os.walk(folder), ("", [], []))
    return {name for name in names if not (folder / name).is_symlink()}


def _packed(names: list[str]) -> str:
    for name in names:
        if name.lower().endswith(PACKED):
            return f"{name!r} is still packed: unpack it there, or give it as the model itself"
    return ""


def _foreign(names: list[str]) -> str:
    for pattern, meaning in FRAMEWORKS:
        fitting = [name for name in names if fnmatch.fnmatch(posixpath.basename(name), pattern)]
        if fitting:
            return f"{fitting[0]!r} is a sign of {meaning}"
    return ""
