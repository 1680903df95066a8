"""What is sent is what is judged: rounding is what the other side reads, comes through twice unchanged, and grows no change."""

import io

import numpy as np
import pytest
import torch
from endpoint_server import read_picture, read_row
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vauban.errors import BadPlan, BadTarget
from vauban.target.http import Request
from vauban.target.http.wire import on_grid, wire_of

KINDS = {
    "png": Request(encode="png"),
    "jpeg": Request(encode="jpeg", quality=90),
    "npy": Request(encode="npy"),
    "npy-8": Request(encode="npy", integers=True),
    "list": Request(encode="list"),
    "list-3": Request(encode="list", decimals=3),
    "list-8": Request(encode="list", integers=True),
    "wide": Request(encode="png", lo=-1.0, hi=3.0),
}


def batch(shape: tuple[int, ...] = (3, 8, 8), seed: int = 0, rows: int = 5) -> torch.Tensor:
    return torch.rand(rows, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_what_went_through_once_comes_through_unchanged(kind: str) -> None:
    wire = wire_of(KINDS[kind])
    once = wire.rounded(batch())
    assert torch.equal(wire.rounded(once), once)
    assert once.dtype == torch.float32


@pytest.mark.parametrize("kind", ["png", "jpeg", "npy", "list", "list-3"])
def test_the_other_side_reads_what_is_judged(kind: str) -> None:
    wire = wire_of(KINDS[kind])
    judged = wire.rounded(batch())
    for row in judged.numpy():
        read, _ = read_row(KINDS[kind].encode, wire.packed(row).value)
        assert np.abs(read - row).max() < 1e-7, kind
    for row, unrounded in zip(judged.numpy(), batch().numpy(), strict=True):
        assert wire.packed(row).data == wire.packed(unrounded).data, "rounding first changes what is sent"


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (3, 30, 30)])
def test_a_jpeg_that_was_kept_can_be_sent_again_even_where_it_never_settles(shape: tuple[int, ...]) -> None:
    wire = wire_of(Request(encode="jpeg", quality=75))
    judged = wire.rounded(batch(shape, rows=4))
    assert torch.equal(wire.rounded(judged), judged)
    for row in judged.numpy():
        assert np.allclose(read_picture(wire.packed(row).data).reshape(shape), row, atol=1e-7)


def test_pictures_of_eight_bits_are_sent_as_they_are() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    x = torch.from_numpy(levels[None].astype(np.float32) / 255)
    wire = wire_of(Request(encode="png"))
    assert torch.equal(wire.rounded(x), x)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(wire.packed(x[0].numpy()).data))), levels[0])


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), st.integers(0, 2**31), st.sampled_from([255.0, 1000.0]))
@settings(deadline=None, max_examples=60)
def test_rounding_toward_clean_inputs_grows_no_change(values: list[float], seed: int, levels: float) -> None:
    x = torch.tensor(values)
    clean = torch.randint(0, int(levels) + 1, x.shape, generator=torch.Generator().manual_seed(seed)) / levels
    there = on_grid(x, clean, 0.0, 1 / levels) / levels
    assert bool(((there - clean).abs() <= (x.double() - clean).abs() + 2e-3 / levels).all())
    assert bool(((there - x).abs() <= 1 / levels + 1e-9).all())


@pytest.mark.parametrize("eps", [8 / 255, 0.1, 0.031])
def test_a_corner_of_the_ball_stays_inside_it(eps: float) -> None:
    wire = wire_of(Request(encode="png"))
    clean = (batch() * 255).round() / 255
    corner = (clean + eps * torch.sign(batch(seed=1) - 0.5)).clamp(0, 1)
    sent = wire.rounded(corner, clean)
    assert float((sent - clean).abs().max()) <= eps + 1e-6
    assert torch.equal(wire.rounded(sent), sent)
    assert float((sent - clean).abs().mean()) > 0.8 * float((corner - clean).abs().mean())
    if eps == 8 / 255:
        assert torch.equal(sent, wire.rounded(corner)), "a corner on the grid is not moved"


def test_a_table_keeps_names_and_whole_numbers() -> None:
    wire = wire_of(Request(encode="table", features=("age", "rate"), integers=("age",), decimals=2))
    x = torch.tensor([[41.7, 0.123]])
    assert wire.rounded(x).tolist()[0] == pytest.approx([42.0, 0.12])
    assert wire.rounded(x, torch.tensor([[41.0, 0.10]])).tolist()[0] == pytest.approx([41.0, 0.12])
    assert wire.packed(wire.rounded(x)[0].numpy()).value == {"age": 42, "rate": 0.12}
    with pytest.raises(BadTarget, match="2 features are named"):
        wire.rounded(torch.zeros(1, 3))


def test_channels_may_come_last() -> None:
    wire = wire_of(Request(encode="list", channels_last=True))
    assert np.array(wire.packed(batch()[0].numpy()).value).shape == (8, 8, 3)


def test_pictures_need_one_or_three_channels() -> None:
    with pytest.raises(BadTarget, match="one or three channels"):
        wire_of(Request(encode="png")).packed(np.zeros((2, 4, 4)))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"encode": "gif"}, "no way to write a row"),
        ({"encode": "table"}, "names of the features"),
        ({"body": {"image": "nothing"}}, "0 places"),
        ({"body": {"a": "<row>", "b": "<rows>"}}, "2 places"),
        ({"batch": 4, "body": {"a": "<row>"}}, "<rows>"),
        ({"multipart": "f", "batch": 2}, "multipart"),
        ({"form": {"a": "b"}}, "multipart"),
        ({"quality": 0}, "quality = 0"),
        ({"lo": 1.0}, "hi = 1.0"),
        ({"decimals": 20}, "decimals = 20"),
        ({"batch": 2, "item": {"b64": "x"}}, "item"),
    ],
)
def test_requests_that_cannot_be_meant_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadPlan, match=sentence):
        Request(**settings)


@pytest.mark.parametrize("settings", [{"integers": ("a",), "encode": "list"}, {"encode": "png", "decimals": 2}])
def test_settings_of_another_way_to_write_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(BadPlan):
        wire_of(Request(**settings))
