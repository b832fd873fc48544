"""Logging and progress bars, the same in every step."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from .errors import InputError
from .printable import printable

FORMAT = "%(asctime)s %(levelname)s %(message)s"


class _Masking(logging.Formatter):
    """A formatter that lets no password of a web address and no control character into a log."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def configure_logging(log_file: str | Path | None) -> logging.Logger:
    """Send the library's log to ``log_file`` and to standard error.

    Parameters
    ----------
    log_file : path-like or None
        The rule's log; None logs to standard error only.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if log_file:
        Path(log_file).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log_file, mode="w", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(_Masking(FORMAT, "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.captureWarnings(True)
    return logging.getLogger("mirror")


def run_step(main: Callable[[], None], log_file: str | Path | None) -> None:
    """Run a step's ``main``; an `InputError` ends it with its one line instead of a traceback.

    The full traceback of any other error goes to the log.
    """
    log = configure_logging(log_file)
    try:
        main()
    except InputError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception:
        log.error("%s", traceback.format_exc())
        raise
