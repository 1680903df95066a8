"""A PyTorch module behind the user's own encoder as a target of texts, differentiable in its embedding."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vauban.doors.text.target import Objective, TextTarget
from vauban.errors import BadTarget
from vauban.target import Torch
from vauban.threat import Access

Encode = Callable[[list[str]], Tensor]


class TextTorch(TextTarget):
    """A PyTorch classifier of texts.

    Args:
        model: maps what `encode` gives to class scores (n, classes), or (n,) or (n, 1) for a binary classifier.
        encode: n strings to what the model takes: token or character ids, int64 (n, length), or one-hot rows, float (n, length, width);
            padded as the model wants it.
        embedding: the layer whose output gradients are taken in; by default the model's only `nn.Embedding`. One-hot rows need none.
        outputs: as in `vauban.Torch`.
        reject: the index of a class that means "no answer".
        device: moves the model there.
        name: what the record calls it.

    Raises:
        BadTarget: the encoder gives something else, or it is not clear which layer is the embedding.
    """

    kind: ClassVar[str] = "text-torch"
    access = Access.GRADIENT

    def __init__(
        self,
        model: nn.Module,
        encode: Encode,
        *,
        embedding: nn.Module | None = None,
        outputs: str = "auto",
        reject: int | None = None,
        device: str | torch.device | None = None,
        name: str = "",
    ) -> None:
        self.model = Torch(model, outputs=outputs, reject=reject, device=device, name=name)
        self.name, self.reject, self.encode = self.model.name, reject, encode
        self._embedding = embedding

    @property
    def embedding(self) -> nn.Module:
        """The layer whose output gradients are taken in."""
        if self._embedding is not None:
            return self._embedding
        found = [m for m in self.model.model.modules() if isinstance(m, nn.Embedding)]
        if len(found) != 1:
            raise BadTarget(f"{self.name}: the model has {len(found)} layers of nn.Embedding; say which one with embedding=")
        return found[0]

    def held(self) -> AbstractContextManager[None]:
        return self.model.held()

    def scores(self, texts: Sequence[str]) -> Tensor:
        z = self.model.scores(self._encoded(texts))
        self.outputs = self.model.outputs
        return z.cpu()

    def slope(self, texts: Sequence[str], objective: Objective) -> tuple[Tensor, list[Tensor]]:
        """One backward pass for all texts, in what the embedding gives for them."""
        x = self._encoded(texts)
        with self.model.held(), torch.enable_grad():
            if x.is_floating_point():
                leaf = x.requires_grad_()
                z = self.model.smooth(leaf)
            else:
                with _kept(self.embedding) as outputs:
                    z = self.model.smooth(x)
                leaf = _only(outputs, self.name)
            gradient = torch.autograd.grad(objective(z).sum(), leaf, allow_unused=True)[0]
        gradient = torch.zeros_like(leaf) if gradient is None else gradient  # pyright: ignore[reportUnnecessaryComparison]
        return z.detach().cpu(), list(gradient.detach().cpu())

    def embed(self, texts: Sequence[str]) -> list[Tensor]:
        x = self._encoded(texts)
        with torch.no_grad():
            return list((x if x.is_floating_point() else self.embedding(x)).cpu())

    def sha256(self) -> str:
        return self.model.sha256()

    def parameters_count(self) -> int:
        return self.model.parameters_count()

    def _encoded(self, texts: Sequence[str]) -> Tensor:
        x = self.encode(list(texts))
        if not isinstance(x, Tensor) or len(x) != len(texts) or x.ndim != (3 if x.is_floating_point() else 2):  # pyright: ignore[reportUnnecessaryIsInstance]
            got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__  # pyright: ignore[reportUnnecessaryIsInstance]
            raise BadTarget(
                f"{self.name}: encode gave {got} for {len(texts)} texts; it gives ids (n, length) or one-hot rows (n, length, width)"
            )
        return x.to(self.model.device)


@contextmanager
def _kept(layer: nn.Module) -> Generator[list[Tensor]]:
    """What a layer answers meanwhile, made the leaves of a graph."""
    kept: list[Tensor] = []

    def keep(_layer: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1]

    handle = layer.register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def _only(outputs: list[Tensor], who: str) -> Tensor:
    if len(outputs) != 1 or outputs[0].ndim != 3:
        raise BadTarget(f"{who}: the embedding must be asked once and give (n, length, width); it was asked {len(outputs)} times")
    return outputs[0]
