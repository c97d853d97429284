"""One run of the command line: what is raised becomes a message on stderr and an exit code, never a traceback."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any

from candelabra.cli.exit_codes import EXIT_CRASH, EXIT_INTERRUPTED, EXIT_USAGE
from candelabra.errors import CandelabraError, SourceError

__all__ = ["run"]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the verbs with ``arguments`` (None: the process's) and give the exit code.

    ``--debug`` anywhere, or CANDELABRA_DEBUG=1, lets errors through with their traceback.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("CANDELABRA_DEBUG", "0") not in ("", "0")
    given = [a for a in given if a != "--debug"]
    try:
        code = _invoke(given)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _say("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has seen enough; a second flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CandelabraError as error:
        if debug:
            raise
        return _say(f"error: {error}", error.exit_code)
    except OSError as error:
        if debug:
            raise
        where = f" {error.filename}" if error.filename else ""
        return _say(f"error: the disk or the system refused{where}: {error.strerror or error}", SourceError.exit_code)
    except Exception as error:
        if debug:
            raise
        return _crashed(error)


def _invoke(arguments: list[str]) -> int:
    import typer

    from candelabra.cli.app import app

    click_exception: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    try:
        result = app(arguments, prog_name="candelabra", standalone_mode=False)
    except SystemExit as error:
        # The parser itself gives up on a closed pipe; what that means is decided in one place.
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        raise
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except click_exception as error:
        return _usage(error)
    if result == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _usage(error: Any) -> int:
    """What the parser refused, on one line, and where its help is."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "candelabra"
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message)
        return EXIT_USAGE
    return _say(f"error: {message.rstrip('.')} (see `{command} --help`)", EXIT_USAGE)


def _crashed(error: Exception) -> int:
    try:
        handle, path = tempfile.mkstemp(prefix="candelabra-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            traceback.print_exception(error, file=out)
        where = f"the traceback is in {path}"
    except OSError:
        where = "run it again with --debug to see the traceback"
    return _say(f"error: candelabra itself failed ({type(error).__name__}: {error}); {where}: please report it with that text", EXIT_CRASH)


def _say(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code
