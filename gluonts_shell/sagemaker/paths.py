"""The /opt/ml tree as a frozen value. It creates nothing.

Source: "How Amazon SageMaker provides training information" and "... processes training output" in AWS's guide.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """model_folder: of a model that lies elsewhere than in the tree."""

    base: Path
    model_folder: Path | None = None

    @property
    def config(self) -> Path:
        return self.base / "input" / "config"

    @property
    def data(self) -> Path:
        """One folder a channel."""
        return self.base / "input" / "data"

    @property
    def model(self) -> Path:
        """Becomes model.tar.gz when the job ends; unpacked here before `serve` starts."""
        return self.model_folder or self.base / "model"

    @property
    def output_data(self) -> Path:
        """Becomes output.tar.gz when the job ends."""
        return self.base / "output" / "data"

    @property
    def checkpoints(self) -> Path:
        """Copied to S3 while the job runs, and back before a job that was interrupted starts again.

        It is there before the job starts if the job has a CheckpointConfig ("Checkpoints in Amazon SageMaker AI").
        """
        return self.base / "checkpoints"

    @property
    def failure(self) -> Path:
        """Its first 1024 characters become the job's FailureReason."""
        return self.base / "output" / "failure"

    @property
    def code(self) -> Path:
        """Where the code channel is installed: in the tree, or beside a model that lies elsewhere."""
        return (self.model_folder.parent if self.model_folder else self.base) / "code"
