"""The checkpoint files of a training: where they lie, which are this job's, which one is gone on from.

SageMaker copies the folder to S3 while the job runs, and back before it starts again ("Checkpoints in Amazon
SageMaker AI" in AWS's guide); hosts share one place there, so a file's name begins with its host. What is in a file
is `epochs`' business, but for its fingerprint.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

log = logging.getLogger(__name__)

KEPT = 2  # a file that was torn when the machine stopped has one before it
OURS = "gluonts_shell"  # the key in a checkpoint under which the fingerprint stands
# How long to train is no part of what is trained: a job that asks for more goes on where it was.
LENGTHS = frozenset({"max_epochs", "min_epochs", "max_steps", "min_steps", "max_time"})


def _never(_: Any) -> None:
    return None


class Checkpoints:
    """Those of one job on one host. every: seconds that lie between two at least; 0 is one each epoch."""

    def __init__(
        self, folder: Path, host: str, fingerprint: Mapping[str, str], every: float = 0.0
    ) -> None:
        self.folder, self.fingerprint, self.every = folder, fingerprint, every
        self.host = re.sub(r"[^\w-]", "_", host)
        text = "\n".join(f"{name}={value}" for name, value in sorted(fingerprint.items()))
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        self.written = self._found(self.digest)

    def newest(
        self, epochs: int, unfit: Callable[[dict[str, Any]], str | None] = _never
    ) -> dict[str, Any] | None:
        """The newest checkpoint of this job that can be read and has no more epochs than asked for, as it was saved.

        epochs: -1 for no limit. unfit: why one cannot be gone on from, if so. What is passed over is told.
        """
        for path in reversed(self.written):
            content = self._read(path)
            if content is None:
                continue
            reason = unfit(content)
            if reason is not None:
                log.warning("checkpoint %s does not fit and is ignored: %s", path.name, reason)
                continue
            if 0 <= epochs < content["epoch"]:
                log.warning("checkpoint %s ignored: it has %d epochs, and %d are asked for",
                            path.name, content["epoch"], epochs)  # fmt: skip
                continue
            return content
        if not self.written:
            self._tell_of_another_job()
        return None

    def write(self, saved: Path, epochs: int) -> None:
        """Whole or not at all: `saved` becomes the checkpoint after so many epochs. A full disk ends no training."""
        target = self.folder / f"{self.host}.{self.digest}.epoch-{epochs:06d}.ckpt"
        unfinished = target.with_name(f".{target.name}.unfinished")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(saved, unfinished)
            unfinished.replace(target)
        except OSError as error:
            log.warning("checkpoint %s cannot be written: %s", target, error.strerror or error)
            with suppress(OSError):
                unfinished.unlink()
            return
        with suppress(ValueError):  # it is written anew after a fall back
            self.written.remove(target)
        self.written.append(target)
        for old in self.written[:-KEPT]:
            with suppress(OSError):
                old.unlink()
        self.written = self.written[-KEPT:]

    def _found(self, digest: str) -> list[Path]:
        """This host's checkpoints with a digest, in order of their epochs."""
        name = re.compile(rf"{re.escape(self.host)}\.{digest}\.epoch-\d+\.ckpt")
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if name.fullmatch(path.name))

    def _read(self, path: Path) -> dict[str, Any] | None:
        """None where the file is torn or is no checkpoint. Nothing in it is executed."""
        import torch

        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            dict(content[OURS]["fingerprint"])
            int(content["epoch"])
        except Exception as error:
            reason = str(error).partition("\n")[0][:200] or type(error).__name__
            log.warning("checkpoint %s is unreadable and ignored: %s", path.name, reason)
            return None
        return content

    def _tell_of_another_job(self) -> None:
        others = sorted(self._found(r"[0-9a-f]{8}"), key=os.path.getmtime)
        content = self._read(others[-1]) if others else None
        if content is not None:
            log.warning(
                "checkpoint of another job ignored: %s",
                differences(content[OURS]["fingerprint"], self.fingerprint),
            )


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """`lr was 0.001, is 0.01; ...`"""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    told = [
        f"{name} was {before.get(name, 'not given')}, is {now.get(name, 'not given')}"
        for name in names[:5]
    ]
    if len(names) > len(told):
        told.append(f"and {len(names) - len(told)} more")
    return "; ".join(told)


def fingerprint(
    forecaster: str, arguments: Mapping[str, Any], channels: Mapping[str, Any]
) -> dict[str, str]:
    """What makes a job another one, as text: the forecaster, what it was given, and the data of each channel.

    arguments: of the constructor, those of its trainer among them, and what else decides what is learnt.
    """
    trainer = arguments.get("trainer_kwargs") or {}
    found = {"forecaster": forecaster}
    for name, value in {**arguments, **trainer}.items():
        found[name] = _text(value)
    for name in LENGTHS | {"trainer_kwargs"}:
        found.pop(name, None)
    for name, data in channels.items():
        if data is not None:
            found[f"channel {name!r}"] = _content(data)
    return found


def lengths(trainer: Mapping[str, Any]) -> dict[str, str]:
    """How long to train, as text, of the trainer's arguments: what a fingerprint leaves out."""
    return {name: _text(trainer[name]) for name in sorted(LENGTHS) if name in trainer}


def _text(value: Any) -> str:
    """Objects that do not say what they are have an address, which the next process would have otherwise."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _content(data: Any) -> str:
    statistics = data.statistics
    values = statistics.observations + statistics.missing
    text = f"{statistics.series} series of {values} values with sum {statistics.total:.9g}"
    if data.held is None or data.here is not None:  # each host has other series
        return text
    return f"{text} and checksum {_checksum(data.held):08x}"


def _checksum(entries: Iterable[Mapping[str, Any]]) -> int:
    checksum = 0
    for entry in entries:
        checksum = zlib.crc32(str(entry["start"].ordinal).encode(), checksum)
        for value in entry.values():
            if isinstance(value, np.ndarray):
                checksum = zlib.crc32(value.tobytes(), checksum)
    return checksum
