"""What may stand in an ONNX file: the standard's own operators on weights that are in the file, and nothing that is left to chance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vauban.errors import BadManifest, Missing

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""Of operators that every runtime has."""
CHANCE = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"})
DEEPEST = 16
"""How deep graphs may lie in graphs."""


def inspect(content: bytes, where: str) -> None:
    """Look through an ONNX file before a runtime sees it.

    Raises:
        BadManifest: it is no ONNX file, or holds something that is not served: weights in other files, operators of one's own, chance.
        Missing: the package `onnx` is not installed.
    """
    model = _parsed(content, where)
    if model.functions:
        raise BadManifest(f"{where}: holds functions of its own ({model.functions[0].name!r:.60}); export it with them inlined")
    if model.training_info:
        raise BadManifest(f"{where}: holds how it is trained; export it for inference")
    foreign = sorted({o.domain for o in model.opset_import} - DOMAINS)
    if foreign:
        raise BadManifest(f"{where}: needs operators of {foreign[0]!r:.60}, which is code of others; only the standard's own are run")
    for graph in _graphs(model.graph, where):
        _check(graph, where)


def _parsed(content: bytes, where: str) -> Any:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise Missing('the guard looks into ONNX files with the package onnx; pip install "vauban[guard]"') from error
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise BadManifest(f"{where}: is no ONNX file") from error
    if not model.graph.node:
        raise BadManifest(f"{where}: is no ONNX file, or has nothing to compute")
    return model


def _graphs(graph: Any, where: str, depth: int = 0) -> Iterator[Any]:
    """A graph and all that lie in it."""
    if depth > DEEPEST:
        raise BadManifest(f"{where}: graphs lie in graphs more than {DEEPEST} deep")
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner, where, depth + 1)


def _check(graph: Any, where: str) -> None:
    for node in graph.node:
        if node.domain not in DOMAINS:
            raise BadManifest(f"{where}: operator {node.domain}.{node.op_type} is code of others; only the standard's own are run")
        if node.op_type in CHANCE:
            raise BadManifest(f"{where}: operator {node.op_type} answers by chance; whoever asks again would get another answer")
    for tensor in _tensors(graph):
        if tensor.data_location == 1 or tensor.external_data:
            raise BadManifest(f"{where}: weight {tensor.name!r:.60} lies in another file; export everything into one")


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            for sparse in (*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []), *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
