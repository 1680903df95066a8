"""A module's forward pass, read once with torch.fx and written down in operations of our own."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from vauban.bounds.known import FUNCTIONS, METHODS, MODULES
from vauban.bounds.translate import BATCH, Draft, Handler, Wire
from vauban.errors import Unsupported


class Reader:
    """Runs the graph of a module on a trial input, for the shapes, and translates what depends on it.

    Args:
        model: in evaluation mode.
        trial: (BATCH, *shape), on the model's device.
        draft: where operations are written.
    """

    def __init__(self, model: nn.Module, trial: Tensor, draft: Draft) -> None:
        self.model, self.trial, self.draft = model, trial, draft
        self.modules = dict(model.named_modules())
        self.values: dict[fx.Node, Any] = {}
        self.wires: dict[fx.Node, Wire | tuple[Wire, ...]] = {}
        self.unit = torch.finfo(trial.dtype).eps / 2

    def read(self, name: str, start: Wire) -> Wire:
        """The wire of the model's output; `start` is that of its input.

        Raises:
            Unsupported: the model branches on its input, or an operator is unknown.
        """
        try:
            graph = fx.Tracer().trace(self.model)
        except Exception as error:  # whatever the model's code does with a stand-in for its input
            raise Unsupported(
                f"{name}: forward() cannot be written as a fixed list of operators, does it branch on its input? ({error})"
            ) from error
        for node in graph.nodes:
            if node.op == "output":
                return self._end(node)
            self._step(node, start)
        raise Unsupported(f"{name}: forward() returns nothing")

    def _end(self, node: fx.Node) -> Wire:
        out = node.args[0]
        wire = self.wires.get(out) if isinstance(out, fx.Node) else None
        if not isinstance(wire, Wire):
            self.draft.what = "an output other than one tensor of scores"
            raise self.draft.refuse()
        return wire

    def _step(self, node: fx.Node, start: Wire) -> None:
        if node.op == "placeholder":
            if self.wires:
                raise Unsupported(f"unsupported operator: forward() takes a second input, {node.name}; bounds are of models of one input")
            self.values[node], self.wires[node] = self.trial, start
            return
        args, kwargs = (map_arg(a, lambda n: self.values[n]) for a in (node.args, node.kwargs))
        value = self.values[node] = self._run(node, args, kwargs)
        if any(n in self.wires for n in node.all_input_nodes) and _tensors(value):
            self.wires[node] = self._translate(node, _tensors(value))

    def _run(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        if node.op == "get_attr":
            value: Any = self.model
            for part in str(node.target).split("."):
                value = getattr(value, part)
            return value
        if node.op == "call_module":
            return self.modules[str(node.target)](*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]  # a function

    def _translate(self, node: fx.Node, values: list[Tensor]) -> Wire | tuple[Wire, ...]:
        draft, handler = self.draft, self._handler(node)
        if draft.closed:
            raise draft.refuse("after a softmax")
        for value in values:
            if value.ndim == 0 or value.shape[0] != BATCH:
                raise draft.refuse(f"here: it makes {tuple(value.shape)} of {BATCH} rows, so that rows are coupled")
            if value.is_floating_point():
                self.unit = max(self.unit, torch.finfo(value.dtype).eps / 2)
        draft.shape = tuple(values[0].shape[1:])
        fill: Any = map_arg
        wired, named = (fill(a, lambda n: self.wires.get(n, self.values[n])) for a in (node.args, node.kwargs))
        args, kwargs = list(wired), dict(named)
        for first in ("input", "tensors"):
            if first in kwargs:
                args.insert(0, kwargs.pop(first))
        if node.op == "call_module":
            args.insert(0, self.modules[str(node.target)])
        try:
            inspect.signature(handler).bind(draft, *args, **kwargs)
        except TypeError as error:
            raise draft.refuse(f"with these arguments ({error})") from error
        return handler(draft, *args, **kwargs)

    def _handler(self, node: fx.Node) -> Handler:
        draft = self.draft
        stack = list(node.meta.get("nn_module_stack", {}))
        draft.where = str(node.target) if node.op == "call_module" else f"{stack[-1]}: {node.name}" if stack else node.name
        if node.op == "call_module":
            kind = type(self.modules[str(node.target)])
            draft.what = kind.__name__
            found = next((MODULES[t] for t in kind.__mro__ if t in MODULES), None)
        elif node.op == "call_method":
            draft.what = str(node.target)
            found = METHODS.get(str(node.target))
        else:
            draft.what = getattr(node.target, "__name__", str(node.target))
            found = FUNCTIONS.get(node.target)
        if found is None:
            raise draft.refuse()
        return found


def _tensors(value: Any) -> list[Tensor]:
    """The tensors that an operator gives: one, several, or none where it gives numbers."""
    found = list(value) if isinstance(value, tuple | list) else [value]
    return [t for t in found if isinstance(t, Tensor)]
