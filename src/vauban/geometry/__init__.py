"""What an attacker may change, in tensors: Lp balls inside a box, and transformations with parameters of their own."""

from vauban.geometry.body import Body, norms_of_rows, per_row
from vauban.geometry.make import body_of, space_of
from vauban.geometry.space import Space
from vauban.geometry.transformed import Transformed

__all__ = ["Body", "Space", "Transformed", "body_of", "norms_of_rows", "per_row", "space_of"]
