"""TOML files that people write: read and parsed with the lines of their keys, so that errors can name them."""

from vauban.toml.locate import Where, line_at, lines_of
from vauban.toml.read import Parsed, parsed, text_of

__all__ = ["Parsed", "Where", "line_at", "lines_of", "parsed", "text_of"]
