"""The command line: one module per command, without logic.

Commands are imported when they are called, and their dependencies when they run, so that `--help` does not
import torch.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys

import click

from scanline.errors import ScanlineError, did_you_mean, printable
from scanline.kernels.waiting import limit_spinning

# In the order in which a new user meets them, with the line that `--help` shows.
COMMANDS = {
    "train": "Train a classifier and test it.",
    "tune": "Search for the settings that suit a data set.",
    "tune show": "Show the trials of a study, and what mattered.",
    "tune worker": "Join a search from another machine.",
    "evaluate": "Evaluate a run on all test sequences.",
    "compare": "Compare runs on the same test sequences.",
    "explain": "Explain a prediction step by step, gate by gate.",
    "report": "Write a run's results to a self-contained HTML page.",
    "predict": "Classify pictures or other sequences.",
    "score": "Score a data set of any size, on this machine or on Ray.",
    "track": "Publish runs to a tracking server (MLflow).",
    "serve": "Serve predictions over HTTP, with an interactive page.",
    "import": "Import a TensorFlow, Keras or PyTorch network.",
    "ensemble": "Make one model of several runs.",
    "export": "Export a model to ONNX or Keras and verify it.",
    "recipes": "List the recipes, or print one.",
    "data": "List, inspect, download, verify and pack data sets.",
    "bench": "Benchmark recurrent layers against other frameworks.",
    "rendezvous": "Host the place where the machines of a training meet.",
    "doctor": "Show versions, hardware and the native library.",
}


# `import` is a Python keyword.
_MODULES = {"import": "import_", "tune show": "tune_show", "tune worker": "tune_worker"}


# What other programs call some settings.
_ABBREVIATIONS = {
    "lr": "learning_rate",
    "hidden": "hidden_size",
    "units": "hidden_size",
    "num_layers": "layers",
}


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        # Checked before the import: a name from the command line must not reach `import_module`.
        if name not in COMMANDS:
            context.fail(
                f"no such command {name!r}: expected one of {', '.join(COMMANDS)}"
                + did_you_mean(name, COMMANDS)
            )
        if name != "bench":  # which times torch and the other frameworks as their users run them
            limit_spinning()
        command: click.Command = importlib.import_module(f"scanline.cli.{_MODULES.get(name, name)}").command
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # `tune` has an argument of its own, so that it cannot be a group of commands.
        name = " ".join(args[:2])
        if len(args) > 1 and name in COMMANDS:
            return name, self.get_command(context, name), args[2:]
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):  # from COMMANDS, so that no command is imported
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="scanline", message="%(prog)s %(version)s")
def command() -> None:
    """Recurrent sequence classifiers (LSTM, GRU, RNN) for pictures read row by row and any other sequence.

    \b
    scanline train                                   train an LSTM on MNIST
    scanline evaluate runs/mnist-rows-001            evaluate it
    scanline predict runs/mnist-rows-001 seven.png   classify a picture
    scanline train sensors.csv                       train on your own sequences
    """  # click reads the backspace as "do not wrap"


def main() -> None:
    """Run a command, and turn errors into one line and an exit code."""
    try:
        # Otherwise click would print errors itself and exit before they are converted below.
        result = command.main(standalone_mode=False, prog_name="scanline")
        code = result if isinstance(result, int) else 0
        if sys.stdout is not None:  # None if the caller closed it
            # Flushed here, so that a full disk or a closed pipe is reported with an exit code, not ignored
            # at exit.
            sys.stdout.flush()
    except ScanlineError as error:
        code = _complain(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = 2
    except click.NoSuchOption as error:
        code = _complain(_unknown_option(error), error.exit_code)
    except click.ClickException as error:
        hint = (
            f" (see `{error.ctx.command_path} --help`)"
            if isinstance(error, click.UsageError) and error.ctx
            else ""
        )
        code = _complain(error.format_message() + hint, error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        code = _complain("interrupted; continue a started run with `scanline train --resume --run DIR`", 130)
    except BrokenPipeError:  # the process that reads our output has ended, such as `head`
        code = 1
        _drop_output()
    except OSError as error:
        place = str(error.filename or "cannot write the output")
        code = _complain(f"{place[:200]}: {error.strerror or error}", 1)
        _drop_output()
    except (MemoryError, RuntimeError) as error:
        # torch reports a failed allocation as a RuntimeError; any other one is a bug and keeps its
        # traceback.
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        code = _complain("out of memory: reduce model.hidden_size or train.batch_size", 1)
    # Otherwise the garbage collector inspects all of torch's objects at exit, for a second or two.
    gc.freeze()
    sys.exit(code)


def _unknown_option(error: click.NoSuchOption) -> str:
    """Return the message for an option that a command does not have: the setting or option that is meant."""
    from scanline.recipe import keys

    given, context = error.option_name, error.ctx
    names = [name for each in context.command.params for name in each.opts] if context else []
    options = [name for name in names if name.startswith("--")]
    meant = given.lstrip("-").replace("-", "_")
    settings = [key for key in keys() if key.rpartition(".")[2] == _ABBREVIATIONS.get(meant, meant)]
    if settings and "--set" in options:
        hint = f"; it is a setting: --set {settings[0]}=VALUE"
    else:
        hint = did_you_mean(given, options)
    path = f" (see `{context.command_path} --help`)" if context else ""
    return f"no such option {given!r}{hint}{path}"


def _complain(message: str, code: int) -> int:
    click.echo(f"scanline: {printable(message)}", err=True)
    return code


def _drop_output() -> None:
    """Discard buffered output that cannot be written; Python would try again at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or not a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
