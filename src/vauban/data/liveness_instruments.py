"""Presentation attack instruments, drawn: a printed picture, a picture on a screen, a mask. Each shows its cues more or less strongly."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vauban.data.liveness_scene import Dice, Person, Plane, View, axes, background, face, paint, plane, relief

Instrument = Callable[[Person, Dice, int, Tensor], Tensor]
"""From people, dice, the size and how strongly its cues show (n, 1, 1), to what stands before the camera (n, 3, size, size)."""


def live(person: Person, dice: Dice, size: int) -> Tensor:
    """Somebody in front of a camera; or the picture of somebody that an impostor has got, which was taken the same way."""
    return face(person, View.drawn(dice), background(dice, size), _pores(dice, size))


def printed(person: Person, dice: Dice, size: int, strength: Tensor) -> Tensor:
    """A photograph on paper: fewer colours, a halftone, the paper's grain, a bent sheet lit as a plane, and perhaps its edge."""
    picture = live(person, dice, size)
    grey = picture.mean(1, keepdim=True)
    picture = picture + (strength * dice.number(0.15, 0.4))[:, None] * (grey - picture)
    black = (strength * dice.number(0.08, 0.2))[:, None]
    picture = black + picture * (dice.number(0.86, 0.96)[:, None] - black)
    picture = picture * (1 + strength[:, None] * halftone(dice, size))
    picture = picture * (1 + strength * dice.number(0.02, 0.06) * dice.grain(size, size))[:, None]
    return framed(picture * sheet(dice, size, strength)[:, None], dice, size, dice.colour(0.75, 0.95))


def halftone(dice: Dice, size: int) -> Tensor:
    """Screens of dots, one a channel, each turned by its own angle: (n, 3, size, size) around 0."""
    across, down = axes(size)
    pitch, angle, strength = dice.number(4.2, 6.5), dice.number(0, math.pi / 2), dice.number(0.2, 0.4)
    screens: list[Tensor] = []
    for turn in (0.26, 0.79, 1.31):
        cos, sin = (angle + turn).cos(), (angle + turn).sin()
        wave = math.pi * size / pitch
        screens.append(((across * cos + down * sin) * wave).cos() * ((down * cos - across * sin) * wave).cos())
    return torch.stack(screens, 1) * strength[:, None]


def sheet(dice: Dice, size: int, strength: Tensor) -> Tensor:
    """The light on a bent sheet, (n, size, size) around 1."""
    across, down = axes(size)
    angle, bend = dice.number(0, 2 * math.pi), dice.number(0.6, 2.2)
    along = across * angle.cos() + down * angle.sin()
    fall = dice.number(-0.25, 0.25) * (across * dice.number(-1, 1) + down * dice.number(-1, 1))
    return 1 + fall + strength * dice.number(0.05, 0.2) * (bend * math.pi * along + dice.number(0, 6)).cos()


def replayed(person: Person, dice: Dice, size: int, strength: Tensor) -> Tensor:
    """A picture on a screen: another gamma, a bluish backlight, its pixels, their moire with the sensor's, glare, and perhaps its bezel."""
    picture = live(person, dice, size).clamp(0.001, 1)
    picture = picture ** (1 + strength * dice.number(-0.3, 0.35))[:, None]
    blue = torch.tensor([-0.06, 0.0, 0.1]).double()[:, None, None]
    picture = (strength * dice.number(0.01, 0.06))[:, None] + picture * (1 + strength[:, None] * blue)
    picture = picture * (1 - strength * grating(dice, size))[:, None] * (1 + strength[:, None] * moire(dice, size))
    across, down = axes(size)
    angle = dice.number(0, 2 * math.pi)
    along = across * angle.cos() + down * angle.sin() - dice.number(-0.9, 0.9)
    glare = torch.exp(-((along / dice.number(0.1, 0.4)) ** 2)) * dice.chance(0.7) * strength * dice.number(0.03, 0.2)
    return framed(picture + glare[:, None], dice, size, dice.colour(0.01, 0.08))


def grating(dice: Dice, size: int) -> Tensor:
    """The dark lines between a screen's pixels, finer than the sensor resolves: (n, size, size), 0 where it shines."""
    across, down = axes(size)
    wave, deep = math.pi * size / dice.number(4.0, 6.0), dice.number(0.2, 0.4)
    tilt = dice.number(-0.08, 0.08)
    return deep * ((((across + tilt * down) * wave).cos() + ((down - tilt * across) * wave).cos()) / 4 + 0.5)


def moire(dice: Dice, size: int) -> Tensor:
    """Slow coloured bands, (n, 3, size, size) around 0."""
    across, down = axes(size)
    angle, bands = dice.number(0, math.pi), dice.number(2, 5)
    bent = dice.number(-0.5, 0.5) * (across**2 + down**2)
    along = (across * angle.cos() + down * angle.sin() + bent) * bands * math.pi
    deep, first = dice.number(0.06, 0.16), dice.number(0, 6)
    return torch.stack([(along + first + shift).cos() for shift in (0.0, 2.1, 4.2)], 1) * deep[:, None]


def masked(person: Person, dice: Dice, size: int, strength: Tensor) -> Tensor:
    """A mask before a face: one even, shiny material, with holes for the eyes and an edge."""
    view, room = View.drawn(dice), background(dice, size)
    picture = face(person, view, room, _pores(dice, size))
    at = plane(view, size)
    diffuse, shine = relief(person, view, at)
    worn = at.spot(0, 0, person.width * 0.97, person.height * 0.95) * (1 - _holes(person, view, at))
    colour = person.skin * dice.colour(0.9, 1.12)
    lit = colour * diffuse[:, None] * view.tint + (dice.number(0.3, 0.8) * shine)[:, None]
    picture = paint(picture, worn * (0.4 + 0.6 * strength), lit)
    edge = at.spot(0, 0, person.width, person.height) - at.spot(0, 0, person.width * 0.93, person.height * 0.93)
    return paint(picture, edge.clamp_min(0) * strength * dice.number(0.4, 1.0), person.skin * 0.2)


def _holes(person: Person, view: View, at: Plane) -> Tensor:
    """Where a mask is open: both eyes and the mouth."""
    turn, line = 0.18 * view.yaw, -0.12 + 0.12 * view.pitch
    left, right = (at.spot(s * person.eyes + turn, line, person.eye_size * 1.5, person.eye_size) for s in (-1.0, 1.0))
    return (left + right + at.spot(turn, line + 0.54, person.mouth, 0.05)).clamp_max(1)


def framed(picture: Tensor, dice: Dice, size: int, border: Tensor) -> Tensor:
    """A picture held up: now and then its border and what lies beyond show at one side."""
    across, down = axes(size)
    upright, sign = dice.chance(0.5), dice.noise.sign(1, 1)
    along = (upright * down + (1 - upright) * across + dice.number(-0.08, 0.08) * (across + down)) * sign
    end, wide, shown = dice.number(0.72, 1.05), dice.number(0.04, 0.14), dice.chance(0.6)
    over = torch.sigmoid((along - end) * 60) * shown
    beyond = torch.sigmoid((along - end - wide) * 60) * shown
    return paint(paint(picture, over, border), beyond, background(dice, size))


def _pores(dice: Dice, size: int) -> Tensor:
    return 0.02 * dice.grain(size, size)


INSTRUMENTS: dict[str, Instrument] = {"print": printed, "replay": replayed, "mask": masked}
