"""The version of Vauban."""

__version__ = "0.1.0"
