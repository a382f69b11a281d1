"""Entry point of `mixdit`: bad input is one line and exit status 2, never a traceback."""

import sys

import typer

from mixdit_cli import commands, measure_commands, search_commands
from mixdit_sim.simulator import SimulationError
from mixdit_sw.errors import MixditError

INTERRUPTED = 130

app = typer.Typer(
    help="Generate, quantize for, simulate and measure a precision-flexible MX matrix engine.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (*commands.ALL, *measure_commands.ALL, *search_commands.ALL):
    app.command()(command)


def main() -> None:
    """Run the command line.

    Exit status: 0 if everything that was checked held, 1 on a mismatch or a failed simulation, 2 on
    bad input or a missing tool, 130 when interrupted.
    """
    try:
        status = app(standalone_mode=False)
        if status == INTERRUPTED:  # typer makes a status of Ctrl-C
            raise KeyboardInterrupt
    except MixditError as error:
        status = _fail(str(error), 2)
    except SimulationError as error:
        status = _fail(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        status = _fail("interrupted", INTERRUPTED)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package.startswith("mixdit"):
            raise
        hint = "run `pip install 'mixdit[all]'`"
        status = _fail(f"Python package {package} is not installed: {hint}", 2)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        status = _fail(f"{where}{error.strerror or error}", 2)
    except Exception as error:
        # Wrong arguments; typer does not export the base class of its own exceptions.
        if not hasattr(error, "format_message"):
            raise
        context = getattr(error, "ctx", None)
        command = context.info_name if context and context.parent else ""
        hint = " ".join(filter(None, ("mixdit", command, "--help")))
        status = _fail(f"{error.format_message()} (try `{hint}`)", 2)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
