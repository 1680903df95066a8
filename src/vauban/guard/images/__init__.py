"""Images: what a device sent becomes pixels in a process of its own, or is refused."""

from vauban.guard.images.decoder import Decoder
from vauban.guard.images.picture import Picture

__all__ = ["Decoder", "Picture"]
