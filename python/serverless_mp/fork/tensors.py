"""Tensors of torch. A worker has its own copy of one that is private, and shares one over shared memory.

The rules that torch registers with multiprocessing move private tensors into shared memory, in the program as well: a forked
process would then change the program's tensors.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from multiprocessing import context
from typing import Any

from serverless_mp.program.introspect import attributes
from serverless_mp.store import region


def reduce_tensor(tensor: Any) -> Any:
    """The reduced form of a tensor in the processor's memory; NotImplemented for one that torch shares, or of another kind."""
    torch = sys.modules["torch"]
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided or tensor.is_quantized or not tensor.numel():
        return NotImplemented
    if tensor.is_shared() or not tensor.is_leaf:  # torch refuses the latter
        return NotImplemented
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    memory, first = _memory_of(tensor)
    where = (memory, tensor.dtype, tensor.data_ptr() - first, tuple(tensor.shape), tensor.stride())
    return _remake_tensor, where, (tensor.requires_grad, tensor.grad, attributes(tensor)), None, None, _fill_tensor


def reduce_parameter(parameter: Any) -> Any:
    """The reduced form of a parameter, from its tensor."""
    if parameter.is_shared():
        return NotImplemented
    state = parameter.requires_grad, parameter.grad, attributes(parameter)
    return _remake_parameter, (type(parameter), parameter.detach()), state, None, None, _fill_tensor


def _memory_of(tensor: Any) -> tuple[Any, int]:
    """The object that has a tensor's memory, the same one for all tensors of a storage, and where that memory begins."""
    shared = region.at(tensor.data_ptr())
    if shared is not None:
        return shared, shared.address
    storage = getattr(tensor, "untyped_storage", tensor.storage)()
    copies: dict[int, bytearray] = vars(context.get_spawning_popen()).setdefault("copies_of_storages", {})
    first = storage.data_ptr()
    if first not in copies:
        copies[first] = bytearray(ctypes.string_at(first, storage.nbytes()))
    return copies[first], first


def _remake_tensor(memory: Any, dtype: Any, offset: int, shape: Any, strides: Any) -> Any:
    torch = importlib.import_module("torch")
    count = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    return torch.frombuffer(memory, dtype=dtype, count=count, offset=offset).as_strided(shape, strides)


def _remake_parameter(kind: Any, tensor: Any) -> Any:
    return tensor.as_subclass(kind)


def _fill_tensor(tensor: Any, state: Any) -> None:
    requires_grad, gradient, kept = state
    tensor.requires_grad_(requires_grad)
    if gradient is not None:
        tensor.grad = gradient
    vars(tensor).update(kept)
