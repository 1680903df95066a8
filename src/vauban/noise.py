"""Noise that belongs to a row: the same for a row whatever batch it travels in, in whatever order, today or after a resume.

A counter-based generator: every 64-bit word is a pure function of (seed, words of the stream, row id, draw of that row, position), the
finaliser of splitmix64 (Steele, Lea, Flood 2014) over a counter. Nothing is stored but one key and one draw counter a row.
"""

from __future__ import annotations

import hashlib
import math
from functools import cached_property

import torch
from torch import Tensor

BLOCK = 1 << 20
"""Words made at a time, so that 10,000 image rows need no gigabyte of 64-bit counters."""


def _signed(word: int) -> int:
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


GOLDEN, _M1, _M2 = (_signed(word) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _word(words: tuple[int | str, ...]) -> int:
    """What names a stream, hashed to a signed 64-bit word."""
    return _signed(int.from_bytes(hashlib.blake2b(repr(words).encode(), digest_size=8).digest(), "little"))


def _mix(z: Tensor) -> Tensor:
    """The finaliser of splitmix64, in place on int64 words; logical shifts are arithmetic ones with the sign bits masked."""
    z ^= (z >> 30) & ((1 << 34) - 1)
    z *= _M1
    z ^= (z >> 27) & ((1 << 37) - 1)
    z *= _M2
    z ^= (z >> 31) & ((1 << 33) - 1)
    return z


class RowNoise:
    """A stream of random numbers for each row.

    Args:
        ids: int64 (rows,), what makes a row itself: its index in the data set, not in the batch.
        seed: any integer.
        stream: further words that name the stream, such as the attack and its restart.

    Every draw has shape (rows, *shape) and advances the draw counter of each row by one; with `where` only of the rows it marks, so that a
    row's next draw never depends on what other rows still needed.

    >>> ids = torch.tensor([5, 9])
    >>> both, one = RowNoise(ids, 0).uniform(3), RowNoise(ids[1:], 0).uniform(3)
    >>> torch.equal(both[1:], one)
    True
    """

    def __init__(self, ids: Tensor, seed: int = 0, *stream: int | str) -> None:
        self.ids, self.seed, self.stream = ids.to(torch.int64), seed, stream
        self._drawn = torch.zeros_like(self.ids)

    @cached_property
    def _key(self) -> Tensor:
        # made when first drawn from: most attacks open streams that they never use
        return _mix(_mix(self.ids * GOLDEN) + _word((self.seed, *self.stream)))

    def __len__(self) -> int:
        return len(self.ids)

    def fork(self, *words: int | str) -> RowNoise:
        """An independent stream for the same rows (and the same questions, after `at`), from its first draw."""
        forked = object.__new__(RowNoise)
        forked.ids, forked.seed, forked.stream = self.ids, self.seed, (*self.stream, *words)
        forked._key = _mix(self._key + _word(words))
        forked._drawn = torch.zeros_like(forked._key)
        return forked

    def take(self, rows: Tensor) -> RowNoise:
        """The streams of some rows (an index or a mask), where they stand."""
        taken = object.__new__(RowNoise)
        taken.ids, taken.seed, taken.stream = self.ids[rows], self.seed, self.stream
        taken._key, taken._drawn = self._key[rows], self._drawn[rows]
        return taken

    def at(self, numbers: Tensor) -> RowNoise:
        """The stream that belongs to question number `numbers` (int64, one a row) of each row, from its first draw."""
        at = self.take(torch.arange(len(self), device=self._key.device))
        at._key = _mix(self._key ^ ((numbers.to(torch.int64) + 1) * _M2))
        at._drawn = torch.zeros_like(at._key)
        return at

    def bits(self, *shape: int, where: Tensor | None = None) -> Tensor:
        """int64 words with 64 random bits, of shape (rows, *shape)."""
        count = math.prod(shape)
        key = _mix(self._key + (self._drawn + 1) * GOLDEN)
        self._drawn = self._drawn + (1 if where is None else where.to(torch.int64))
        if not len(key) or not count:
            return key.new_empty((len(key), *shape))
        if len(key) * count <= BLOCK:
            counter = torch.arange(1, count + 1, device=key.device) * GOLDEN
            return _mix(key[:, None] + counter).view(-1, *shape)
        return self._blocks(key, count).view(-1, *shape)

    @staticmethod
    def _blocks(key: Tensor, count: int) -> Tensor:
        words = key.new_empty((len(key), count))
        for start in range(0, count, BLOCK):
            counter = torch.arange(start + 1, min(start + BLOCK, count) + 1, device=key.device) * GOLDEN
            rows = max(BLOCK // len(counter), 1)
            for first in range(0, len(key), rows):
                words[first : first + rows, start : start + len(counter)] = _mix(key[first : first + rows, None] + counter)
        return words

    def _unit(self, shape: tuple[int, ...], where: Tensor | None, shift: int, device_words: int) -> Tensor:
        """Floats k / 2^bits for k in [0, 2^bits), made block by block so that 64-bit words never outlive a block of rows."""
        rows = max(device_words // max(math.prod(shape), 1), 1)
        if len(self._key) <= rows:
            return self._float(self.bits(*shape, where=where), shift)
        out = torch.empty((len(self._key), *shape), device=self._key.device)
        for first in range(0, len(self._key), rows):
            part = self.take(torch.arange(first, min(first + rows, len(self._key)), device=self._key.device))
            out[first : first + rows] = self._float(part.bits(*shape), shift)
        self._drawn = self._drawn + (1 if where is None else where.to(torch.int64))
        return out

    @staticmethod
    def _float(words: Tensor, shift: int) -> Tensor:
        bits = 64 - shift
        return ((words >> shift) & ((1 << bits) - 1)).to(torch.float32) * 2.0**-bits

    def uniform(self, *shape: int, where: Tensor | None = None) -> Tensor:
        """float32 in [0, 1): 24-bit fractions, so that 1 is never reached by rounding."""
        return self._unit(shape, where, 40, 4 * BLOCK)

    def normal(self, *shape: int, where: Tensor | None = None) -> Tensor:
        """float32 standard normal (Box and Muller 1958: both values of a pair are used)."""
        count = math.prod(shape)
        half = (count + 1) // 2
        radius = self.uniform(half, where=where)
        angle = self.uniform(half, where=where)
        radius = radius.neg_().add_(1).log_().mul_(-2).sqrt_()
        angle = angle.mul_(2 * math.pi)
        pair = torch.cat([radius * angle.cos(), radius.mul_(angle.sin_())], dim=1)
        return pair[:, :count].reshape(-1, *shape)

    def sign(self, *shape: int, where: Tensor | None = None) -> Tensor:
        """float32, -1 or +1 with equal chance."""
        return torch.where(self.uniform(*shape, where=where) < 0.5, -1.0, 1.0)

    def integers(self, below: int, *shape: int, where: Tensor | None = None) -> Tensor:
        """int64 in [0, below). The bias of the modulo is below `below` / 2^63."""
        return (self.bits(*shape, where=where) & ((1 << 63) - 1)) % below
