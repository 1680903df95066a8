"""Three networks that have little in common answer as one: the mean of their probabilities."""

from __future__ import annotations

from pathlib import Path

import models
from safetensors.torch import load_file

import vauban

MEMBERS = {"plain": "hardened.safetensors", "mobile": "mobile.safetensors", "mixer": "mixer.safetensors"}


def build() -> vauban.Committee:
    """The hardened plain network with the other two, as they were trained."""
    return vauban.Committee([_member(name, weights) for name, weights in MEMBERS.items()])


def _member(name: str, weights: str) -> vauban.Torch:
    model = getattr(models, name)()
    model.load_state_dict(load_file(Path(__file__).parent / weights))
    return vauban.Torch(model.eval(), outputs="logits", name=name)
