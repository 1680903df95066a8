"""The process that decodes images. It is run by its path, knows nothing of the guard, and has little memory and little time.

Standard input is a socket: sizes and a body come in, each after its length; the pixels or the reason of a refusal go out after theirs.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageFile, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin

FORMATS = ("JPEG", "PNG", "WEBP")
PLUGINS = (JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)
"""Imported before memory is scarce; no other format is ever opened."""
SIDE = 16
"""Pixels that the shorter side has at least."""
LONG = 4
"""How many times the shorter side the longer one may be."""
PER_PIXEL = 28
"""Bytes of memory for each pixel: progressive files and animations keep several copies."""
SPARE = 24 << 20
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes the orientation that EXIF states."""
OK, REFUSED, READY = b"\0", b"\1", b"\2"
HEAD, ASK = struct.Struct(">cI"), struct.Struct(">II")


class Unfit(Exception):
    """An image that is not accepted, and why."""


def decoded(body: bytes, sizes: list[tuple[int, int]], pixels: int) -> list[bytes]:
    """The pixels of an image file in these sizes, uint8 (h, w, 3) each.

    Raises:
        Unfit: the file is none that is accepted.
    """
    with Image.open(BytesIO(body), formats=FORMATS) as image:
        _measure(image, pixels)
        largest = 2 * max(max(size) for size in sizes)
        image.draft(image.mode, (largest, largest))
        image.load()
        turn = UPRIGHT.get(image.getexif().get(0x0112, 1))
        return [_turned(_opaque(image), size, turn).tobytes() for size in sizes]


def scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """An image in another (height, width); bilinear over all pixels that fall together."""
    height, width = size
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)


def _measure(image: Image.Image, pixels: int) -> None:
    """Refuse by the header, before anything is decoded."""
    short, long = min(image.size), max(image.size)
    if short * long > pixels:
        raise Unfit(f"{image.width} x {image.height} pixels are more than {pixels}")
    if short < SIDE or long > LONG * short:
        raise Unfit(f"{image.width} x {image.height} pixels: a side shorter than {SIDE}, or {LONG} times longer than the other")
    if image.format not in FORMATS or getattr(image, "n_frames", 1) != 1:
        raise Unfit("more than one picture")


def _opaque(image: Image.Image) -> Image.Image:
    """An image in red, green and blue; what shows through depends on who looks, so nothing may."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise Unfit("transparent")
    elif image.mode not in ("RGB", "L", "1", "P"):
        raise Unfit(f"colours of kind {image.mode}")
    return image.convert("RGB")


def _turned(image: Image.Image, size: tuple[int, int], turn: Image.Transpose | None) -> Image.Image:
    if turn is None:
        return scaled(image, size)
    aside = turn in (Image.Transpose.TRANSPOSE, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270)
    return scaled(image, (size[1], size[0]) if aside else size).transpose(turn)


def received(connection: socket.socket, count: int) -> bytes:
    """Exactly so many bytes.

    Raises:
        EOFError: the other side left.
    """
    parts: list[bytes] = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _answered(body: bytes, sizes: list[list[int]], told: dict[str, Any]) -> bytes:
    signal.setitimer(signal.ITIMER_PROF, told["cpu"])  # its signal ends the process, whatever library is at work
    try:
        found = b"".join(decoded(body, [(h, w) for h, w in sizes], told["pixels"]))
        return HEAD.pack(OK, len(found)) + found
    except Exception as error:  # decoders raise anything
        why = f"{type(error).__name__}: {error}"[:200].encode()
        return HEAD.pack(REFUSED, len(why)) + why
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _limit(pixels: int) -> None:
    """Memory for one image of the largest size, no file to write, no dump of what it holds."""
    try:
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except OSError:
        used = 1 << 30
    memory = used + SPARE + PER_PIXEL * pixels
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 16)):
        resource.setrlimit(what, (most, most))
    Image.MAX_IMAGE_PIXELS = pixels
    ImageFile.LOAD_TRUNCATED_IMAGES = False


def main() -> None:
    """Decode until nobody asks any more."""
    told = json.loads(sys.argv[1])
    connection = socket.socket(fileno=os.dup(0))
    _limit(told["pixels"])
    connection.sendall(HEAD.pack(READY, 0))
    try:
        while True:
            wanted, length = ASK.unpack(received(connection, ASK.size))
            sizes = json.loads(received(connection, wanted))
            connection.sendall(_answered(received(connection, length), sizes, told))
    except (EOFError, ConnectionError):
        return


if __name__ == "__main__":
    main()
