"""Fingerprints: what is the same capture stays near, what is another one does not, and nothing can be told without the key."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from captures import SIDE, Pixels, blinded, captures, levels, noisy, scene, shifted

from vauban.errors import BadData
from vauban.guard.config.model import Watch as Config
from vauban.guard.keys import Keys
from vauban.guard.watch import Watch
from vauban.guard.watch.sketch import STEP, TEXTURE, WINDOW, Sketcher, likeness
from vauban.guard.watch.thumbnail import Thumbnailer, bands, nearest, stored
from vauban.guard.watch.watch import smaller

KEY, OTHER = b"1" * 32, b"2" * 32
FAR = 0.0164
SKETCHER, THUMBNAILER = Sketcher(KEY, (SIDE, SIDE)), Thumbnailer(KEY, (SIDE, SIDE))


def sketched(changed: Callable[[Pixels], Pixels]) -> float:
    """The share of crops with texture whose sketch is near after a change."""
    found = [(SKETCHER.sketch(x), SKETCHER.sketch(changed(x))) for x in captures()]
    return float(np.mean([likeness(a, [b])[0] >= 0.5 for a, b in found if a.size == 50]))


def far(one: Pixels, other: Pixels) -> float:
    return float(nearest(THUMBNAILER.probes(one), stored(THUMBNAILER.probes(other)[:1]))[0])


def test_a_sketch_is_that_of_every_window_by_hand() -> None:
    small = scene(1, 16)
    sketcher = Sketcher(KEY, (16, 16))
    flat, a, b, c, d = small.ravel().tolist(), *(int(v) for v in sketcher.odd)
    e, f = (int(v) for v in sketcher.more)
    coarse = [(v + int(cut)) // STEP for v, cut in zip(flat, sketcher.cuts, strict=True)]
    hashes = set()
    for i in range(len(flat) - WINDOW + 1):
        window = coarse[i : i + WINDOW]
        one, two = (sum(v << (3 * k) for k, v in enumerate(part)) for part in (window[:10], window[10:]))
        first = (one * a + two * b + d) % 2**32
        first = (first ^ (first >> 16)) * c % 2**32
        more = (one | two << 30) * e % 2**64
        more = (more ^ (more >> 32)) * f % 2**64 >> 33
        if sum(abs(flat[i + j + 3] - flat[i + j]) for j in range(WINDOW - 3)) >= TEXTURE * (WINDOW - 3):
            hashes.add(first << 31 | more)
    assert sketcher.sketch(small).tolist() == sorted(hashes)[:50]


def test_a_sketch_survives_noise_of_one_level_and_not_of_four() -> None:
    rng = np.random.default_rng(0)
    assert sketched(lambda x: x) == 1
    assert sketched(lambda x: noisy(x, 1, rng)) >= 0.9
    assert sketched(lambda x: noisy(x, 4, rng)) == 0
    assert sketched(lambda x: noisy(x, 6, rng)) == 0


def test_a_sketch_alone_is_blinded_by_one_pixel_or_a_little_light() -> None:
    assert sketched(lambda x: shifted(x, 0, 1)) <= 0.3
    assert sketched(lambda x: levels(x + 4.0)) == 0


def test_a_thumbnail_is_kept_under_blinding() -> None:
    rng = np.random.default_rng(0)
    found = []
    for x in captures():
        earlier = np.concatenate([stored(THUMBNAILER.probes(blinded(x, rng, shift=7))[:1]) for _ in range(10)])
        found.append(nearest(THUMBNAILER.probes(blinded(x, rng, shift=7)), earlier).min() <= FAR)
    assert np.mean(found) > 0.8


@pytest.mark.parametrize(
    "changed",
    [lambda x: levels(x + 8.0), lambda x: levels(128 + 0.9 * (x - 128.0)), lambda x: shifted(x, 7, -7), lambda x: x[:, ::-1]],
    ids=["brighter", "less contrast", "moved by half a cell", "mirrored"],
)
def test_one_probe_finds_what_was_changed(changed: Callable[[Pixels], Pixels]) -> None:
    assert np.mean([far(x, np.ascontiguousarray(changed(x))) <= 2 * FAR for x in captures()]) > 0.9


def test_different_captures_are_far_apart() -> None:
    found = captures()
    assert len(found) > 15
    sketches = [SKETCHER.sketch(x) for x in found]
    for i, x in enumerate(found):
        assert likeness(sketches[i], sketches[:i] + sketches[i + 1 :]).max() <= 0.1
        assert all(far(x, y) > FAR for y in found[:i])


def test_the_rotation_keeps_angles_and_hides_cells() -> None:
    turned = np.stack([THUMBNAILER.probes(x)[0] for x in captures()])
    plain = np.stack([x.reshape(8, 14, 8, 14, 3).mean((1, 3)) for x in captures()])
    plain = (plain - plain.mean((1, 2), keepdims=True)).reshape(len(plain), -1)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    assert np.allclose(turned @ turned.T, plain @ plain.T, atol=1e-4)
    assert np.abs((turned * plain).sum(1)).max() < 0.4


def test_another_key_gives_fingerprints_that_have_nothing_in_common() -> None:
    x = captures()[0]
    assert not set(SKETCHER.sketch(x)) & set(Sketcher(OTHER, (SIDE, SIDE)).sketch(x))
    mine, others = (stored(Thumbnailer(k, (SIDE, SIDE)).probes(x)) for k in (KEY, OTHER))
    assert nearest(THUMBNAILER.probes(x), others[:1])[0] > 0.5
    assert not set(bands(mine[:1]).ravel().tolist()) & set(bands(others[:1]).ravel().tolist())


def test_near_thumbnails_share_a_band_and_far_ones_seldom_do() -> None:
    rng = np.random.default_rng(0)
    shared, chance = [], []
    for x, y in zip(captures(), captures()[1:], strict=False):
        mine = set(bands(stored(THUMBNAILER.probes(blinded(x, rng)))).ravel().tolist())
        shared.append(bool(mine & set(bands(stored(THUMBNAILER.probes(x)[:1])).ravel().tolist())))
        chance.append(bool(mine & set(bands(stored(THUMBNAILER.probes(y)[:1])).ravel().tolist())))
    assert np.mean(shared) > 0.9
    assert np.mean(chance) < 0.1


def test_a_black_picture_and_a_black_border_are_like_nothing() -> None:
    black, grey = np.zeros((SIDE, SIDE, 3), np.uint8), np.full((SIDE, SIDE, 3), 90, np.uint8)
    assert far(black, grey) >= 1
    assert likeness(SKETCHER.sketch(black), [SKETCHER.sketch(black)])[0] == 0
    framed = [np.pad(x[30:-30, 30:-30], ((30, 30), (30, 30), (0, 0))) for x in captures()[:2]]
    assert likeness(SKETCHER.sketch(framed[0]), [SKETCHER.sketch(framed[1])])[0] <= 0.3


def test_the_digest_tells_one_level_of_one_pixel_and_depends_on_the_key(keys: Keys) -> None:
    watch, x = Watch(keys, Config()), captures()[0]
    y = x.copy()
    y[3, 5, 1] ^= 1
    assert watch.look(x).digest == watch.look(x.copy()).digest != watch.look(y).digest
    assert len(watch.look(x).digest) == 32


@pytest.mark.parametrize("side", [16, 32, 64, 96, 112, 160, 224])
def test_inputs_of_any_size_are_looked_at(keys: Keys, side: int) -> None:
    watch, rng = Watch(keys, Config()), np.random.default_rng(0)
    seen = watch.look(scene(1, side))
    again = watch.look(noisy(scene(1, side), 0.5, rng))
    assert seen.sketch.size == 50
    assert np.all(np.diff(seen.sketch) > 0)
    assert seen.probes.shape == (10, 192)
    assert nearest(again.probes, seen.thumb[None])[0] < FAR


def test_large_inputs_are_averaged_in_blocks() -> None:
    x = scene(1, 225)
    expected = x[:224, :224].reshape(112, 2, 112, 2, 3).astype(int).sum((1, 3)) // 4
    assert np.array_equal(smaller(x), expected)


@pytest.mark.parametrize("bad", [np.zeros((112, 112), np.uint8), np.zeros((112, 112, 3)), np.zeros((8, 112, 3), np.uint8)])
def test_what_is_no_picture_is_refused(keys: Keys, bad: Pixels) -> None:
    with pytest.raises(BadData, match="give uint8"):
        Watch(keys, Config()).look(bad)


@pytest.mark.slow
def test_the_anchors_hold_on_real_small_images() -> None:
    path = Path(os.environ.get("VAUBAN_ASSETS", "")) / "cifar10_jpeg.npz"
    if not os.environ.get("VAUBAN_ASSETS") or not path.exists():
        pytest.skip("VAUBAN_ASSETS names no folder that holds cifar10_jpeg.npz")
    images = np.load(path)["x_train"][:3000]
    sketcher, thumbnailer, rng = Sketcher(KEY, (32, 32)), Thumbnailer(KEY, (32, 32)), np.random.default_rng(0)
    first = {
        s: np.mean([likeness(sketcher.sketch(x), [sketcher.sketch(noisy(x, s, rng))])[0] >= 0.5 for x in images[:500]]) for s in (1, 4)
    }
    assert first[1] > 0.95
    assert first[4] == 0
    hits = []
    for x in images[:200]:
        earlier = np.concatenate([stored(thumbnailer.probes(blinded(x, rng))[:1]) for _ in range(10)])
        hits.append(nearest(thumbnailer.probes(blinded(x, rng)), earlier).min() <= FAR)
    assert np.mean(hits) > 0.8
    probes = [thumbnailer.probes(x) for x in images]
    thumbs = stored(np.stack([p[0] for p in probes]))
    strangers = [np.partition(nearest(p, thumbs), 1)[1] <= FAR for p in probes[:500]]
    assert np.mean(strangers) < 0.02
