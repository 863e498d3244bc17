"""argparse, and nothing heavy: a command's module is imported once the command is chosen.

`--help` must answer at once, so this module imports no more than argparse does, and `main` the rest of what every
command needs once the command line is right. The code channel may bring another GluonTS, so all of it stays within
the standard library.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING

import gluonts_shell
from gluonts_shell.errors import ShellError

if TYPE_CHECKING:
    from pathlib import Path

    from gluonts_shell.settings import Settings

# options that win over the setting of the same name; --port does too, once it is checked
SETTINGS = ("data_path", "forecaster", "force_static")
DATA_PATH_HELP = "the tree of a job, as SageMaker mounts it (SAGEMAKER_DATA_PATH; default: /opt/ml)"


def path(text: str) -> Path:
    from pathlib import Path

    return Path(text)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="gluonts-shell", description="Run any GluonTS forecaster on Amazon SageMaker."
    )
    top.add_argument(
        "--version", action="version", version=f"gluonts-shell {gluonts_shell.__version__}"
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")

    train = command("train", "run the training job that lies under the data path")
    serve = command(
        "serve", "answer /ping and /invocations, for an endpoint or a batch transform job"
    )
    check = command(
        "check",
        "read a training job and its data, and tell what would fail and what it will be like",
    )
    check.add_argument("--json", action="store_true", help="for machines")
    for job in (train, serve, check):
        job.add_argument("--data-path", metavar="DIR", help=DATA_PATH_HELP)
        job.add_argument(
            "--forecaster", metavar="NAME", help="class path or short name (GLUONTS_FORECASTER)"
        )
    serve.add_argument(
        "--model",
        metavar="DIR",
        type=path,
        help="the model's folder (default: model in the data path)",
    )
    serve.add_argument("--port", metavar="PORT", help="(SAGEMAKER_BIND_TO_PORT; default: 8080)")
    serve.add_argument(
        "--force-static", action="store_true", help="refuse requests that name a forecaster"
    )

    transform = command(
        "transform", "forecast files of JSON Lines without a server, as batch transform would"
    )
    transform.add_argument("--input", metavar="FILE_OR_DIR", type=path, required=True)
    transform.add_argument("--output", metavar="DIR", type=path, required=True)
    transform.add_argument(
        "--model",
        metavar="MODEL",
        type=path,
        help="model.tar.gz or its folder (default: model in the data path)",
    )
    transform.add_argument("--data-path", metavar="DIR", help=DATA_PATH_HELP)
    transform.add_argument(
        "--shard",
        metavar="I/N",
        help="take every N-th file, beginning with the I-th of 1 to N; "
        "auto: as the index of this AWS Batch, Slurm or (auto/N) Kubernetes job says",
    )
    transform.add_argument(
        "--overwrite",
        action="store_true",
        help="make all outputs again, not only those that are missing or older than the model",
    )
    # for the start after the code's
    transform.add_argument("--model-time", type=float, help=argparse.SUPPRESS)
    transform.add_argument(
        "--workers", metavar="W", type=int, help="processes (default: the CPUs of this container)"
    )

    wheelhouse = command(
        "wheelhouse", "download what a code channel needs where there is no network"
    )
    wheelhouse.add_argument("requirements", metavar="REQUIREMENTS", type=path)
    wheelhouse.add_argument("--output", metavar="DIR", type=path, required=True)
    wheelhouse.add_argument(
        "--python-version", metavar="X.Y", help="of the container (default: this one's)"
    )
    wheelhouse.add_argument(
        "--platform", metavar="TAG", action="append", help="of the container; may be repeated"
    )

    inspect = command(
        "inspect",
        "tell what a model is, what it needs, and a request that it answers; runs none of it",
    )
    inspect.add_argument("model", metavar="MODEL", type=path, help="model.tar.gz or its folder")
    inspect.add_argument("--json", action="store_true", help="for machines")

    demo = command(
        "demo", "train on a small real data set in ./ml and show the scores and a forecast"
    )
    demo.add_argument(
        "--data-path", metavar="DIR", default="ml", help="where to make the tree (default: ./ml)"
    )
    command("ping", "ask the server on this machine whether it is well, for a HEALTHCHECK")
    command("sbom", "print what is installed here as a software bill of materials (CycloneDX)")
    command("forecasters", "list what can be named as a forecaster, and what each needs")
    command(
        "metrics", "print the metric definitions of the log, ready for a training or tuning job"
    )
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status; 2 where the command line is wrong, as argparse has it."""
    fill_streams()
    ensure_home(os.environ)
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = parser().parse_args(arguments)
    try:
        return _run(options, _settings(options))
    except ShellError as error:
        return _report(error, options)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        from gluonts_shell.sagemaker import failure

        print(f"gluonts-shell: {failure.sentence(error)}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("gluonts-shell: interrupted", file=sys.stderr)  # noqa: T201
        return 130


def fill_streams() -> None:
    """Give a process whose standard streams were closed (`serve <&- >&- 2>&-`) some that lead nowhere.

    Python has None for a closed stream, which every print and every look at a terminal would trip over; and the next
    file or connection that is opened would get the number, and be sent what libraries print.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process lives
            setattr(sys, name, stream)


def _settings(options: argparse.Namespace) -> Settings:
    """Those of the environment, and of the command line where it has some. Raises ConfigurationError."""
    from dataclasses import replace

    from gluonts_shell.settings import Settings, port_of

    settings = Settings.from_environ(os.environ)
    asked = vars(options)
    given = {name: asked[name] for name in SETTINGS if asked.get(name)}
    if asked.get("port") is not None:
        given["port"] = port_of(options.port)
    before, named = settings.forecaster, given.get("forecaster", settings.forecaster)
    if before not in (None, named):
        text = f"GLUONTS_FORECASTER is {before!r}, but --forecaster is {named!r}, which wins"
        print(f"gluonts-shell: {text}", file=sys.stderr)  # noqa: T201
    return replace(settings, **given)


def _report(error: ShellError, options: argparse.Namespace) -> int:
    """Of the settings, which are wrong, or of a command that reports nothing itself; returns the exit status."""
    from gluonts_shell.log import one_line
    from gluonts_shell.sagemaker import failure
    from gluonts_shell.sagemaker.paths import Paths
    from gluonts_shell.settings import Settings

    if options.command == "train":
        data_path = options.data_path or os.environ.get("SAGEMAKER_DATA_PATH") or Settings.data_path
        return failure.report(error, Paths(path(data_path)).failure)
    print(f"gluonts-shell: {one_line(str(error))}", file=sys.stderr)  # noqa: T201
    return error.exit_code


def ensure_home(environ: MutableMapping[str, str]) -> None:
    """A home for a user who has none: no HOME and no entry in passwd, as with `docker run --user 1234`.

    GluonTS asks for it as it is imported, and fails without one; it writes nothing there unless it downloads data.
    """
    if os.path.expanduser("~").startswith("~"):  # noqa: PTH111 - pathlib is not needed for help
        import tempfile

        environ["HOME"] = tempfile.gettempdir()


def _run(options: argparse.Namespace, settings: Settings) -> int:
    run = COMMANDS[options.command]
    return run(options, settings)


def _train(_: argparse.Namespace, settings: Settings) -> int:
    from gluonts_shell.commands import train

    return train.run(settings)


def _serve(options: argparse.Namespace, settings: Settings) -> int:
    if settings.multi_model:
        from gluonts_shell.commands import models

        return models.run(settings, options.model)
    # imports make hardly any garbage; the supervisor looks for it again once the model is there
    gc.disable()
    from gluonts_shell.commands import serve

    return serve.run(settings, options.model)


def _transform(options: argparse.Namespace, settings: Settings) -> int:
    from gluonts_shell.commands import transform

    return transform.run(options, settings)


def _wheelhouse(options: argparse.Namespace, _: Settings) -> int:
    from gluonts_shell.commands import wheelhouse

    return wheelhouse.run(
        options.requirements, options.output, options.python_version, options.platform or []
    )


def _ping(_: argparse.Namespace, settings: Settings) -> int:
    from gluonts_shell.commands import ping

    return ping.run(settings)


def _check(options: argparse.Namespace, settings: Settings) -> int:
    from gluonts_shell.commands import check

    return check.run(settings, options.json)


def _inspect(options: argparse.Namespace, settings: Settings) -> int:
    from gluonts_shell.commands import inspect

    return inspect.run(options.model, settings, options.json)


def _forecasters(_: argparse.Namespace, __: Settings) -> int:
    from gluonts_shell.commands import forecasters

    return forecasters.run()


def _sbom(_: argparse.Namespace, __: Settings) -> int:
    from gluonts_shell.commands import sbom

    return sbom.run()


def _metrics(_: argparse.Namespace, __: Settings) -> int:
    from gluonts_shell.commands import metrics

    return metrics.run()


def _demo(options: argparse.Namespace, _: Settings) -> int:
    from gluonts_shell.commands import demo

    return demo.run(path(options.data_path))


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Settings], int]] = {
    "train": _train,
    "serve": _serve,
    "transform": _transform,
    "wheelhouse": _wheelhouse,
    "ping": _ping,
    "check": _check,
    "inspect": _inspect,
    "forecasters": _forecasters,
    "sbom": _sbom,
    "metrics": _metrics,
    "demo": _demo,
}
