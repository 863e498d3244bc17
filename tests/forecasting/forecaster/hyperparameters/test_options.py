"""The table of the shell's own hyperparameters is the manual's."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import gluonts_shell
from gluonts_shell.forecasting.forecaster.hyperparameters import arguments
from gluonts_shell.forecasting.forecaster.hyperparameters.options import Options, table

PAGE = Path(gluonts_shell.__file__).parents[1] / "docs" / "training.md"


def test_the_manual_has_the_table_of_hyperparameters() -> None:
    """Paste what this prints: python -m gluonts_shell.forecasting.forecaster.hyperparameters.options"""
    printed = table()
    assert printed.count("\n") == len(fields(Options)) + 1
    page = PAGE.read_text(encoding="utf-8")
    assert f"<!-- hyperparameters -->\n{printed}\n<!-- /hyperparameters -->" in page


def test_the_manual_names_each_alias_and_what_it_stands_for() -> None:
    (line,) = [
        row for row in PAGE.read_text(encoding="utf-8").splitlines() if "DeepAR's names" in row
    ]
    for alias, name in arguments.ALIASES.items():
        assert f"`{alias}`" in line
        assert f"`{name}`" in line
