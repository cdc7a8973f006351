"""The command line: one file a command, no logic of its own.

Commands are imported when they are called, and what they need when they run: `--help` imports no torch.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys

import click

from scanline.errors import ScanlineError, did_you_mean, printable

# In the order of a first acquaintance, with the line that `--help` shows.
COMMANDS = {
    "train": "Train a classifier, test it, and keep the run.",
    "evaluate": "Judge a run on all test sequences.",
    "compare": "Set runs beside each other on the same test sequences.",
    "explain": "Tell why it answered so: step by step, gate by gate.",
    "report": "Show a run on one page that can be sent about.",
    "predict": "Name what pictures or other sequences are.",
    "serve": "Answer over HTTP, with a page to watch it read.",
    "import": "Make a model of a network that TensorFlow, Keras or PyTorch trained.",
    "export": "Write a model as ONNX or Keras, checked against itself.",
    "recipes": "List the recipes, or print one.",
    "data": "List, show, fetch and verify data sets.",
    "bench": "Measure the LSTM beside those of other frameworks.",
    "doctor": "Say what computes here, and what is missing.",
}


_MODULES = {"import": "import_"}  # a word of Python's own


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            context.fail(
                f"no such command {name!r}: expected one of {', '.join(COMMANDS)}"
                + did_you_mean(name, COMMANDS)
            )
        command: click.Command = importlib.import_module(f"scanline.cli.{_MODULES.get(name, name)}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):  # from the table above: nothing is imported for it
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="scanline", message="%(prog)s %(version)s")
def command() -> None:
    """Recurrent sequence classifiers that read a picture row by row, or any other sequence step by step.

    \b
    scanline train                        an LSTM learns to read digits
    scanline evaluate runs/mnist-rows-001 how well it does
    scanline predict  runs/mnist-rows-001 seven.png
    scanline train    sensors.csv         the same for your own sequences
    """


def main() -> None:
    """The program `scanline`: runs a command, turns errors into one line and an exit code."""
    try:
        result = command.main(standalone_mode=False, prog_name="scanline")
        code = result if isinstance(result, int) else 0
        if sys.stdout is not None:  # None where the caller closed it
            sys.stdout.flush()
    except ScanlineError as error:
        code = _complain(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = 2
    except click.ClickException as error:
        hint = (
            f" (see `{error.ctx.command_path} --help`)"
            if isinstance(error, click.UsageError) and error.ctx
            else ""
        )
        code = _complain(error.format_message() + hint, error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        code = _complain(
            "interrupted; a run that had begun goes on with `scanline train --resume --run DIR`", 130
        )
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        code = 1
        _drop_output()
    except OSError as error:
        place = str(error.filename or "cannot write the output")
        code = _complain(f"{place[:200]}: {error.strerror or error}", 1)
        _drop_output()
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        code = _complain("not enough memory: choose a smaller model.hidden_size or train.batch_size", 1)
    gc.freeze()  # else the end takes a second or two, to look through all that torch has made
    sys.exit(code)


def _complain(message: str, code: int) -> int:
    click.echo(f"scanline: {printable(message)}", err=True)
    return code


def _drop_output() -> None:
    """What is still in the buffer cannot be written; Python would try again when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or no file at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
