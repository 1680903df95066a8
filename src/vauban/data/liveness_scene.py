"""Synthetic faces: people, how they hold themselves, the light on them, and the picture that comes of it. Nothing here is a photograph."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.noise import RowNoise

SIDE = 7
"""Soft edges are drawn this many times steeper than the outline they end."""


class Dice:
    """Random numbers for rows, all from streams that belong to each row: what a row gets does not depend on its company."""

    def __init__(self, noise: RowNoise) -> None:
        self.noise = noise

    def number(self, lo: float, hi: float) -> Tensor:
        """Uniform, float64 (n, 1, 1)."""
        return lo + (hi - lo) * self.noise.uniform(1, 1).double()

    def colour(self, lo: float, hi: float) -> Tensor:
        """A colour with each channel uniform, float64 (n, 3, 1, 1)."""
        return lo + (hi - lo) * self.noise.uniform(3, 1, 1).double()

    def chance(self, share: float) -> Tensor:
        """1 with this chance and 0 otherwise, float64 (n, 1, 1)."""
        return (self.noise.uniform(1, 1) < share).double()

    def grain(self, *shape: int) -> Tensor:
        """Normal noise, float64 (n, *shape)."""
        return self.noise.normal(*shape).double()


@dataclass(frozen=True, eq=False)
class Person:
    """What stays the same in every picture of somebody: sizes (n, 1, 1) relative to the face, colours (n, 3, 1, 1)."""

    width: Tensor
    height: Tensor
    eyes: Tensor
    eye_size: Tensor
    brow: Tensor
    nose: Tensor
    mouth: Tensor
    hairline: Tensor
    skin: Tensor
    hair: Tensor
    iris: Tensor
    lips: Tensor
    glasses: Tensor

    @classmethod
    def drawn(cls, dice: Dice) -> Person:
        shade = dice.number(0.12, 1.0)[:, None]
        light, dark = torch.tensor([0.95, 0.78, 0.68]).double(), torch.tensor([0.32, 0.20, 0.14]).double()
        skin = (shade * light[:, None, None] + (1 - shade) * dark[:, None, None]) * dice.colour(0.94, 1.06)
        return cls(
            dice.number(0.48, 0.60), dice.number(0.66, 0.78), dice.number(0.19, 0.25), dice.number(0.07, 0.10), dice.number(0.018, 0.04),
            dice.number(0.16, 0.26), dice.number(0.14, 0.23), dice.number(-0.62, -0.34), skin,
            (dice.colour(0.02, 0.12) + dice.number(0, 0.5)[:, None] * torch.tensor([0.9, 0.65, 0.35]).double()[:, None, None]),
            dice.colour(0.1, 0.5), skin * torch.tensor([0.95, 0.6, 0.6]).double()[:, None, None], dice.chance(0.2),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class View:
    """How a face stands in the picture and what light falls on it; all (n, 1, 1), the light's colour (n, 3, 1, 1)."""

    x: Tensor
    y: Tensor
    scale: Tensor
    roll: Tensor
    yaw: Tensor
    pitch: Tensor
    open: Tensor
    ambient: Tensor
    across: Tensor
    above: Tensor
    tint: Tensor

    @classmethod
    def drawn(cls, dice: Dice) -> View:
        return cls(
            dice.number(-0.12, 0.12), dice.number(-0.10, 0.14), dice.number(1.05, 1.3), dice.number(-0.2, 0.2), dice.number(-0.45, 0.45),
            dice.number(-0.22, 0.22), dice.number(0, 1), dice.number(0.35, 0.8), dice.number(-0.8, 0.8), dice.number(-0.8, 0.1),
            dice.colour(0.92, 1.06),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Plane:
    """The coordinates of a face in the picture, (n, size, size): 0 at its middle, 1 about at its outline."""

    x: Tensor
    y: Tensor

    def spot(self, x: Tensor | float, y: Tensor | float, width: Tensor | float, height: Tensor | float) -> Tensor:
        """How much each pixel belongs to an ellipse, in [0, 1]."""
        away = (((self.x - x) / width) ** 2 + ((self.y - y) / height) ** 2).sqrt()
        return torch.sigmoid((1 - away) * SIDE * 2)


def axes(size: int) -> tuple[Tensor, Tensor]:
    """Coordinates of the pixels from -1 to 1: across (1, 1, size) and down (1, size, 1)."""
    line = (torch.arange(size).double() + 0.5) * 2 / size - 1
    return line[None, None, :], line[None, :, None]


def plane(view: View, size: int) -> Plane:
    """Where each pixel lies in the face's own coordinates."""
    across, down = axes(size)
    x, y = across - view.x, down - view.y
    cos, sin = view.roll.cos(), view.roll.sin()
    return Plane((cos * x + sin * y) / view.scale, (cos * y - sin * x) / view.scale)


def paint(picture: Tensor, where: Tensor, colour: Tensor) -> Tensor:
    """A colour (n, 3, 1, 1) or picture laid over another (n, 3, size, size) where (n, size, size) says so."""
    return picture + where[:, None] * (colour - picture)


def background(dice: Dice, size: int) -> Tensor:
    """A room: two colours that run into each other, a few soft things, and now and then straight edges: a door, a shelf, blinds."""
    across, down = axes(size)
    angle, place = dice.number(0, 2 * math.pi), dice.number(-0.5, 0.5)
    run = torch.sigmoid((across * angle.cos() + down * angle.sin() - place) * dice.number(1, 3))
    room = paint(_wall(dice) + torch.zeros(size, size), run, _wall(dice))
    whole = Plane(across, down)
    for _ in range(2):
        thing = whole.spot(dice.number(-1, 1), dice.number(-1, 1), dice.number(0.1, 0.4), dice.number(0.1, 0.4))
        room = paint(room, thing * dice.number(0.2, 0.8), _wall(dice))
    side = torch.sigmoid((dice.number(0.6, 1.1) - across * dice.noise.sign(1, 1)) * -60)
    room = paint(room, side * dice.chance(0.4), _wall(dice))
    blinds = (down * dice.number(8, 20) + dice.number(0, 6)).sin()
    return room * (1 + 0.1 * dice.chance(0.15) * blinds)[:, None]


def _wall(dice: Dice) -> Tensor:
    """A colour of no strong hue."""
    return dice.number(0.1, 0.8)[:, None] * dice.colour(0.75, 1.1)


def relief(person: Person, view: View, at: Plane) -> tuple[Tensor, Tensor]:
    """(diffuse, shine) of the light on a head taken as an ellipsoid, each (n, size, size)."""
    x, y = at.x / person.width, at.y / person.height
    z = (1 - x * x - y * y).clamp_min(0.02).sqrt()
    x, y = x + 0.5 * view.yaw, y + 0.5 * view.pitch
    normal, source = (x * x + y * y + z * z).sqrt(), (view.across**2 + view.above**2 + 0.6).sqrt()
    facing = ((x * view.across + y * view.above + z * math.sqrt(0.6)) / (normal * source)).clamp_min(0)
    ridge = (at.x - 0.18 * view.yaw) / 0.07
    nose = torch.exp(-(ridge**2)) * at.spot(0.18 * view.yaw, 0.02, 0.3, person.nose) * (0.12 - 0.25 * ridge * view.across)
    return view.ambient + (1 - view.ambient) * facing + nose, facing**20


def face(person: Person, view: View, room: Tensor, pores: Tensor) -> Tensor:
    """The picture of people in front of rooms (n, 3, size, size); `pores` (n, size, size) is the fine texture of their skin."""
    at = plane(view, room.shape[-1])
    turn, nod = 0.18 * view.yaw, 0.12 * view.pitch
    head = at.spot(0, 0, person.width, person.height)
    diffuse, shine = relief(person, view, at)
    body = at.spot(0, person.height + 0.62, 0.95, 0.62)
    picture = paint(room, body, person.iris.flip(1) + 0.1)
    picture = paint(picture, at.spot(0, -0.1, person.width * 1.12, person.height * 1.05), person.hair)
    skin = paint(person.skin + torch.zeros_like(room), torch.sigmoid((person.hairline - at.y) * 25), person.hair)
    skin = skin * (1 + pores)[:, None]
    skin = features(skin, person, view, at, turn, nod)
    lit = skin * diffuse[:, None] * view.tint + 0.1 * shine[:, None]
    return paint(picture, head, lit)


def features(skin: Tensor, person: Person, view: View, at: Plane, turn: Tensor, nod: Tensor) -> Tensor:
    """Eyes, brows, nostrils, mouth and glasses on a skin (n, 3, size, size)."""
    dark = torch.full_like(person.skin, 0.05)
    line = -0.12 + nod
    for side in (-1.0, 1.0):
        x = side * person.eyes + turn
        lid = person.eye_size * (0.45 + 0.35 * view.open)
        eye = at.spot(x, line, person.eye_size * 1.4, lid)
        skin = paint(skin, eye, torch.full_like(dark, 0.85))
        iris = at.spot(x + turn / 4, line, person.eye_size * 0.6, person.eye_size * 0.6)
        skin = paint(skin, iris * eye, person.iris)
        skin = paint(skin, at.spot(x + turn / 4, line, person.eye_size * 0.3, person.eye_size * 0.3) * eye, dark)
        skin = paint(skin, at.spot(x, line - 0.11, person.eye_size * 1.5, person.brow), person.hair)
        skin = paint(skin, 0.6 * at.spot(turn * 1.4 + side * 0.05, person.nose, 0.03, 0.02), dark)
        rim = at.spot(x, line, 0.19, 0.15) - at.spot(x, line, 0.155, 0.115)
        skin = paint(skin, person.glasses * rim.clamp_min(0), dark)
    mouth = at.spot(turn, 0.42 + nod, person.mouth, 0.045 + 0.04 * view.open)
    skin = paint(skin, mouth, person.lips)
    return paint(skin, 0.8 * at.spot(turn, 0.42 + nod, person.mouth * 0.9, 0.008 + 0.035 * view.open * view.open), dark)
