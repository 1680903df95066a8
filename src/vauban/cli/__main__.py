"""`python -m vauban.cli` is `vauban`."""

from vauban.cli import entry

entry()
