"""The trained networks, read from their files; and a committee of three that have little in common, answering by the mean of their probabilities."""

from __future__ import annotations

from pathlib import Path

import models
from safetensors.torch import load_file
from torch import nn

import vauban

HERE = Path(__file__).parent


def trained(name: str, weights: str) -> nn.Module:
    """A network with the weights in a file beside this one."""
    model = getattr(models, name)()
    model.load_state_dict(load_file(HERE / weights))
    return model.eval()


def mobile() -> nn.Module:
    return trained("mobile", "mobile.safetensors")


def mixer() -> nn.Module:
    return trained("mixer", "mixer.safetensors")


def build() -> vauban.Committee:
    """The hardened plain network and the other two, as they were trained."""
    members = {"plain": trained("plain", "hardened.safetensors"), "mobile": mobile(), "mixer": mixer()}
    return vauban.Committee([vauban.Torch(model, outputs="logits", name=name) for name, model in members.items()])
