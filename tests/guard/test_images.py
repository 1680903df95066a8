"""Images: what the models see is what was sent, whatever the file; what is no plain picture is refused, and costs next to nothing."""

from __future__ import annotations

import io
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from vauban.errors import BadGuard, GuardDown
from vauban.guard.images import Decoder, Picture, decoder
from vauban.guard.refusal import Code, Refused

SIZES = [(24, 24), (32, 48)]
DICE = np.random.default_rng(0)
NOISE = DICE.integers(0, 256, (24, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def decode() -> Iterator[Decoder]:
    made = Decoder(SIZES)
    yield made
    made.close()


def coded(image: Image.Image | np.ndarray[Any, Any], kind: str = "PNG", **options: Any) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def levels(picture: Picture) -> tuple[tuple[tuple[int, int], bytes], ...]:
    """All that models see of a picture."""
    return tuple(sorted((size, pixels.tobytes()) for size, pixels in picture.pixels.items()))


def smooth(height: int, width: int) -> Image.Image:
    """A picture without noise."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([255 * y / height, 255 * x / width, 255 * (x + y) / (height + width)], 2).astype(np.uint8))


def test_the_pixels_of_a_picture_of_the_right_size_are_what_the_models_see(decode: Decoder) -> None:
    found = decode.decode(coded(NOISE))
    assert (found.pixels[24, 24] == NOISE).all()
    assert found.pixels[32, 48].shape == (32, 48, 3)
    assert levels(found) == levels(Picture.fitted(NOISE, SIZES))


def test_the_same_pixels_in_another_file_are_the_same_picture(decode: Decoder) -> None:
    note = PngImagePlugin.PngInfo()
    note.add_text("comment", "another file")
    files = [
        coded(NOISE),
        coded(NOISE, compress_level=1, pnginfo=note),
        coded(NOISE, "WEBP", lossless=True),
        coded(Image.fromarray(NOISE).convert("RGBA")),
    ]
    assert len(set(files)) == 4
    assert len({levels(decode.decode(f)) for f in files}) == 1
    other = NOISE.copy()
    other[5, 5, 1] ^= 1
    assert levels(decode.decode(coded(other))) != levels(decode.decode(files[0]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright(decode: Decoder, orientation: int) -> None:
    image = smooth(48, 32)
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = coded(image, "PNG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(body))).convert("RGB")
    expected = np.asarray(upright.resize((48, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decode.decode(body).pixels[32, 48].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_and_palettes_are_colours(decode: Decoder, mode: str) -> None:
    image = smooth(24, 24).convert(mode)
    assert (decode.decode(coded(image)).pixels[24, 24] == np.asarray(image.convert("RGB"))).all()


def test_a_large_photograph_is_near_to_what_pillow_makes_of_it(decode: Decoder) -> None:
    body = coded(smooth(1500, 2000), "JPEG", quality=95)
    whole = np.asarray(Image.open(io.BytesIO(body)).resize((24, 24), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decode.decode(body).pixels[24, 24].astype(int) - whole).max() <= 4


def frames(kind: str, **options: Any) -> bytes:
    """Several pictures in one file."""
    several = [Image.fromarray(DICE.integers(0, 256, (24, 24, 3), dtype=np.uint8)) for _ in range(3)]
    return coded(several[0], kind, save_all=True, append_images=several[1:], **options)


def chunked(name: bytes, content: bytes) -> bytes:
    """A small PNG with one more chunk after its header."""
    body = coded(NOISE)
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return body[:33] + chunk + body[33:]


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", coded(NOISE))
    return file.getvalue()


BOMBS: dict[str, Callable[[], bytes]] = {
    "png of 13,000 squared": lambda: coded(Image.new("1", (13_000, 13_000))),
    "png of 2,001 squared": lambda: coded(Image.new("1", (2_001, 2_001))),
    "webp of 16,383 squared": lambda: bytes.fromhex("524946461a000000574542505650384c0e0000002ffebfff0f071011fd0f4444ff03"),
    "png that says it is 2^31 wide": lambda: coded(NOISE)[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + coded(NOISE)[24:],
    "text that grows": lambda: chunked(b"zTXt", b"k\0\0" + zlib.compress(bytes(200 << 20), 9)),
    "colour profile that grows": lambda: chunked(b"iCCP", b"k\0\0" + zlib.compress(bytes(200 << 20), 9)),
    "long and thin": lambda: coded(Image.new("RGB", (2_000, 16))),
}
REFUSED: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "noise": lambda: DICE.bytes(5_000),
    "text": lambda: b"<svg xmlns='http://www.w3.org/2000/svg' width='24' height='24'/>",
    "pickle": lambda: b"\x80\x04cposix\nsystem\n(S'true'\ntR.",
    "zip": zipped,
    "gif": lambda: coded(NOISE, "GIF"),
    "bmp": lambda: coded(NOISE, "BMP"),
    "tiff": lambda: coded(NOISE, "TIFF"),
    "moving gif": lambda: frames("GIF"),
    "moving png": lambda: frames("PNG"),
    "moving webp": lambda: frames("WEBP"),
    "two jpegs": lambda: frames("MPO"),
    "half a png": lambda: coded(NOISE)[:900],
    "half a jpeg": lambda: coded(NOISE, "JPEG")[:700],
    "half a webp": lambda: coded(NOISE, "WEBP")[:200],
    "for print": lambda: coded(Image.new("CMYK", (24, 24)), "JPEG"),
    "sixteen bits": lambda: coded(Image.fromarray(np.zeros((24, 24), np.uint16))),
    "see-through": lambda: coded(Image.new("RGBA", (24, 24), (1, 2, 3, 254))),
    "see-through palette": lambda: coded(Image.new("P", (24, 24)), transparency=0),
    "one pixel": lambda: coded(Image.new("RGB", (1, 1))),
}


@pytest.mark.parametrize("name", BOMBS | REFUSED)
def test_what_is_no_plain_picture_is_refused_and_cheap(decode: Decoder, name: str) -> None:
    body, began = (BOMBS | REFUSED)[name](), time.monotonic()
    with pytest.raises(Refused) as told:
        decode.decode(body)
    assert told.value.code is Code.INVALID_IMAGE
    assert time.monotonic() - began < 2
    assert peak(decode) < 50 << 20
    assert levels(decode.decode(coded(NOISE))) == levels(Picture.fitted(NOISE, SIZES)), "the next picture is decoded as if nothing had been"


def test_the_bomb_of_the_notes_is_twenty_thousand_bytes() -> None:
    assert len(BOMBS["png of 13,000 squared"]()) < 21_000


def peak(decode: Decoder) -> int:
    """The most memory that any of its processes ever had resident, in bytes."""
    told = [Path(f"/proc/{p.process.pid}/status").read_text() for p in decode._all if p.process]
    return max(int(line.split()[1]) << 10 for text in told for line in text.splitlines() if line.startswith("VmHWM"))


def scans(side: int, times: int) -> bytes:
    """A progressive JPEG whose last scan stands there very often: each one goes over the whole picture."""
    body = coded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:last] + body[last:-2] * times + body[-2:]


def test_a_picture_that_takes_long_is_refused_after_its_second_of_computing() -> None:
    decode = Decoder(SIZES, cpu=0.5)
    body, began = scans(2_000, 20_000), time.monotonic()
    assert len(body) < 2 << 20
    with pytest.raises(Refused, match="no image") as told:
        decode.decode(body)
    assert "too long" in told.value.why
    assert time.monotonic() - began < 4
    assert levels(decode.decode(coded(NOISE))) == levels(Picture.fitted(NOISE, SIZES))
    decode.close()


def test_a_picture_of_the_largest_size_fits_into_the_memory_there_is(decode: Decoder) -> None:
    for kind, options in (("JPEG", {"progressive": True, "subsampling": 0, "quality": 95}), ("PNG", {}), ("WEBP", {"method": 0})):
        assert decode.decode(coded(smooth(2_000, 2_000), kind, **options)).pixels[24, 24].shape == (24, 24, 3)


def test_a_process_that_is_killed_is_replaced(decode: Decoder) -> None:
    first = decode._all[0].process
    assert first is not None
    first.kill()
    first.wait()
    assert levels(decode.decode(coded(NOISE))) == levels(Picture.fitted(NOISE, SIZES))
    assert decode._all[0].process is not first


def test_the_process_knows_no_secrets_and_leaves_nothing(decode: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "hunter2")
    made = Decoder(SIZES)
    process = made._all[0].process
    assert process is not None
    assert Path(f"/proc/{process.pid}/environ").read_bytes() == b""
    told = Path(f"/proc/{process.pid}/limits").read_text()
    limits = {line[:26].strip(): line[26:].split()[:2] for line in told.splitlines()}
    assert limits["Max core file size"] == limits["Max file size"] == ["0", "0"]
    assert int(limits["Max address space"][0]) < 256 << 20
    made.close()
    assert not Path(f"/proc/{process.pid}").exists() or process.poll() is not None


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoder]:
    """A decoder whose process dies of b"die", and does nothing at b"wait"."""
    text = Path(decoder.WORKER).read_text()
    text = text.replace(
        "def _answered(",
        "def _answered(body, sizes, told):\n    if body == b'die':\n        os.abort()\n    if body == b'wait':\n        signal.pause()\n    return _real(body, sizes, told)\n\n\ndef _real(",
        1,
    )
    (tmp_path / "worker.py").write_text(text)
    monkeypatch.setattr(decoder, "WORKER", tmp_path / "worker.py")
    made = Decoder(SIZES, seconds=1.0)
    yield made
    made.close()


def test_a_picture_that_kills_the_process_is_refused(odd: Decoder) -> None:
    with pytest.raises(Refused) as told:
        odd.decode(b"die")
    assert told.value.code is Code.INVALID_IMAGE
    assert levels(odd.decode(coded(NOISE))) == levels(Picture.fitted(NOISE, SIZES))


def test_a_process_that_does_nothing_is_no_decision_and_is_replaced(odd: Decoder) -> None:
    began = time.monotonic()
    with pytest.raises(GuardDown, match="too long"):
        odd.decode(b"wait")
    assert time.monotonic() - began < 3
    assert levels(odd.decode(coded(NOISE))) == levels(Picture.fitted(NOISE, SIZES))


def test_more_askers_than_processes_wait_and_then_are_told(odd: Decoder) -> None:
    told: list[str] = []

    def ask(seconds: float, body: bytes) -> None:
        odd.seconds = seconds
        try:
            odd.decode(body)
        except GuardDown as error:
            told.append(str(error))

    waiting = threading.Thread(target=ask, args=(0.6, b"wait"))
    waiting.start()
    time.sleep(0.1)
    ask(0.1, coded(NOISE))
    waiting.join()
    assert ["became free" in told[0], "too long" in told[1]] == [True, True]


def test_everyone_gets_the_own_picture(decode: Decoder) -> None:
    made = Decoder(SIZES, processes=2)
    pictures = [DICE.integers(0, 256, (24, 24, 3), dtype=np.uint8) for _ in range(16)]
    wrong: list[int] = []

    def ask(i: int) -> None:
        body = coded(pictures[i])
        wrong.extend(i for _ in range(10) if not (made.decode(body).pixels[24, 24] == pictures[i]).all())

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    made.close()


def test_other_sizes_can_be_wanted_later(decode: Decoder) -> None:
    made = Decoder([(24, 24)])
    made.want([(24, 24), (64, 64)])
    assert set(made.decode(coded(NOISE)).pixels) == {(24, 24), (64, 64)}
    with pytest.raises(BadGuard):
        made.want([])
    made.close()


FILES = [
    coded(NOISE),
    coded(NOISE, "JPEG"),
    coded(NOISE, "WEBP"),
    coded(NOISE, "JPEG", progressive=True),
    coded(Image.fromarray(NOISE).convert("P")),
]
CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6), st.sampled_from(["put", "insert", "cut"])), min_size=1, max_size=6
)


def changed(body: bytes, changes: list[tuple[float, bytes, str]]) -> bytes:
    for where, what, how in changes:
        at = int(where * len(body))
        body = {
            "put": body[:at] + what + body[at + len(what) :],
            "insert": body[:at] + what + body[at:],
            "cut": body[:at] + body[at + 8 :],
        }[how]
    return body


def fuzz(decode: Decoder, file: int, changes: list[tuple[float, bytes, str]]) -> None:
    try:
        found = decode.decode(changed(FILES[file], changes))
    except Refused as refused:
        assert refused.code is Code.INVALID_IMAGE
    else:
        assert {p.shape for p in found.pixels.values()} == {(24, 24, 3), (32, 48, 3)}


@settings(max_examples=150, deadline=None)
@given(file=st.integers(0, 4), changes=CHANGES)
def test_damage_gives_a_picture_or_a_refusal(decode: Decoder, file: int, changes: list[tuple[float, bytes, str]]) -> None:
    fuzz(decode, file, changes)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(file=st.integers(0, 4), changes=CHANGES)
def test_much_damage_gives_a_picture_or_a_refusal(decode: Decoder, file: int, changes: list[tuple[float, bytes, str]]) -> None:
    fuzz(decode, file, changes)
