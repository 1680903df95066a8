"""A PyTorch module as a target."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from vauban.errors import BadTarget, nearest
from vauban.noise import RowNoise
from vauban.target.base import Target
from vauban.target.outputs import KINDS, checked_kind, recognise, tensor_of
from vauban.threat import Access

Precision = Literal["float32", "bfloat16"]
ROUGH = 2.0**-6
"""How far bfloat16 scores may lie from float32 ones, of their span: 8 bits of mantissa, and a few layers that add up their errors."""


class Torch(Target):
    """A PyTorch classifier, in evaluation mode while it is attacked and afterwards as it was.

    Args:
        model: maps (n, *shape) to class scores (n, classes), or (n,) or (n, 1) for a binary classifier.
        outputs: "logits", "probabilities", "log-probabilities", "sigmoid", "binary-logit", or "auto" to recognise them on clean inputs.
        mean, std: the normalisation to apply before the model, one value or one a channel, where the model does not hold it itself.
        reject: the index of a class that means "no answer".
        device: moves the model there ("cpu", "cuda", "mps"); by default it stays where its parameters are.
        name: what the record calls it.
        channels_last: lay images and convolution weights out channels-last while attacked (faster on most hardware; verdicts are verified
            in the model's own layout).
        gradients: "float32", or "bfloat16" for gradients in reduced precision, faster on processors that have it. Verdicts stay in the model's own
            precision: an answer that looks like a success, or nearly one, is asked again before it counts.

    Raises:
        BadTarget: the model is no classifier (regression, multi-label, detection), on the first inputs it sees.

    >>> target = Torch(nn.Linear(4, 3), outputs="logits")
    >>> target.scores(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    kind: ClassVar[str] = "torch"
    access = Access.GRADIENT

    def __init__(
        self,
        model: nn.Module,
        *,
        outputs: str = "auto",
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        reject: int | None = None,
        device: str | torch.device | None = None,
        name: str = "",
        channels_last: bool = True,
        gradients: Precision = "float32",
    ) -> None:
        if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]  # a person may pass anything
            raise BadTarget(f"Torch needs a torch.nn.Module and got {type(model).__name__}; for a function use vauban.Function")
        self.model = model if device is None else model.to(device)
        self.name = name or type(model).__name__
        self.outputs = checked_kind(outputs, self.name)
        self.reject = reject
        self.device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))
        self._mean, self._std = self._channels(mean), self._channels(std)
        if gradients not in get_args(Precision):
            raise BadTarget(f"{self.name}: gradients = {gradients!r}; {nearest(gradients, get_args(Precision))}")
        self._low = gradients == "bfloat16"
        self.rough = ROUGH if self._low else 0.0
        self._holds = 0
        first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
        self.channels_last = channels_last and first is not None and first.in_channels >= 3  # with fewer channels nothing is gained
        self.layout = torch.channels_last if self.channels_last else torch.contiguous_format
        self._layout = torch.contiguous_format
        self._laid_out = False

    def _channels(self, values: float | Sequence[float] | None) -> Tensor | None:
        return None if values is None else torch.as_tensor(values, dtype=torch.float32, device=self.device)

    @property
    def normalisation(self) -> tuple[Tensor | None, Tensor | None]:
        """What is subtracted from the inputs, and what they are divided by, one value or one a channel; None where nothing is."""
        return self._mean, self._std

    @contextmanager
    def held(self) -> Generator[None]:
        """Evaluation mode, parameters frozen, convolutions channels-last; all of it undone at the end. May be nested."""
        self._holds += 1
        if self._holds > 1:
            try:
                yield
            finally:
                self._holds -= 1
            return
        training = [m for m in self.model.modules() if m.training]
        frozen = [p for p in self.model.parameters() if p.requires_grad]
        relaid = [
            p
            for p in self.model.parameters()
            if self.channels_last and p.ndim == 4 and not p.is_contiguous(memory_format=torch.channels_last)
        ]
        try:
            self._set(training, frozen, relaid, held=True)
            yield
        finally:
            self._holds -= 1
            self._set(training, frozen, relaid, held=False)

    def _set(self, training: list[nn.Module], frozen: list[nn.Parameter], relaid: list[nn.Parameter], *, held: bool) -> None:
        self._layout = torch.channels_last if held and self.channels_last else torch.contiguous_format
        for module in training:
            module.training = not held
        for parameter in frozen:
            parameter.requires_grad_(not held)
        for parameter in relaid:
            parameter.data = parameter.data.contiguous(memory_format=self._layout)

    def _forward(self, x: Tensor) -> Tensor:
        if self._mean is not None:
            x = x - self._mean.view(-1, *[1] * (x.ndim - 2))
        if self._std is not None:
            x = x / self._std.view(-1, *[1] * (x.ndim - 2))
        if x.ndim == 4:
            x = x.contiguous(memory_format=self._layout)
        z = tensor_of(self._called(x), self.name)
        if len(z) != len(x):
            raise BadTarget(f"{self.name}: {len(x)} inputs gave {len(z)} rows of outputs; a classifier answers each input once")
        if self.outputs == "auto":
            self.outputs = recognise(z, self.name)
        return KINDS[self.outputs](z.float() if z.dtype != torch.float64 else z)

    def _called(self, x: Tensor) -> Tensor:
        """The model's answer; a model whose code needs the usual layout (`.view` after a convolution) is given that from then on."""
        if not self.channels_last or self._laid_out:
            return self.model(x)
        try:
            z = self.model(x)
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            self.channels_last, self.layout, self._layout = False, torch.contiguous_format, torch.contiguous_format
            for p in self.model.parameters():
                p.data = p.data.contiguous()
            z = self.model(x.contiguous())
        self._laid_out = True
        return z

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        with self.held(), torch.no_grad():
            return self._forward(x)

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        if not self._holds:
            with self.held():
                return self.smooth(x, draw)
        if not self._low:
            return self._forward(x)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return self._forward(x)

    def prepare(self, x: Tensor) -> None:
        if self.outputs == "auto":
            self.scores(x)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.model.parameters())
