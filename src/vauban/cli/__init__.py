"""The command line. One file a verb: its function `command` is the verb, its docstring the help, what it returns the exit code."""

from vauban.cli.main import entry

__all__ = ["entry"]
