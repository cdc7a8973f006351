"""What a native operator computes without the native library: the reference, and torch's gradient of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from scanline.cells import Cell, Weights
from scanline.kernels import reference
from scanline.kernels.layer_call import LayerCall


def forward(cell: Cell, call: LayerCall) -> tuple[Tensor, ...]:
    """Return what the operator returns: outputs, last states, and nothing for the backward pass.

    Args:
        cell: What to compute.
        call: The operator's arguments.
    """
    y, last = _scan(cell, call, call.x, _states(call), call.weights)
    reserve = call.x.new_empty(0, dtype=torch.uint8)
    # A state that no step changed is the caller's own tensor; an operator must return new ones.
    return (y.contiguous(), *(state.clone() for state in last), reserve)


def gradients(
    cell: Cell,
    call: LayerCall,
    results: Sequence[Tensor | None],
    wants: tuple[bool, bool, bool],
) -> tuple[Tensor, ...]:
    """Return the gradients by x, the states and the weights.

    Args:
        cell: What was computed.
        call: The operator's arguments.
        results: Gradients of outputs and last states; None for zeros.
        wants: Whether those by x, by the states and by the weights are wanted; the others are empty.
    """
    with_no_graph = torch.no_grad()(differentiate)  # a new thread starts with gradients enabled
    return _in_fresh_thread(lambda: with_no_graph(cell, call, results, wants))


def differentiate(
    cell: Cell,
    call: LayerCall,
    results: Sequence[Tensor | None],
    wants: tuple[bool, bool, bool],
) -> tuple[Tensor, ...]:
    """Return what `gradients` does, differentiable if gradients are enabled.

    Torch's dispatcher must not have turned autograd off in the calling thread.

    Args:
        cell: As for `gradients`.
        call: As for `gradients`.
        results: As for `gradients`.
        wants: As for `gradients`.
    """
    attached = torch.is_grad_enabled()
    with torch.enable_grad():
        derived = _differentiate(cell, call, results, attached)
    counts = zip(wants, (1, len(cell.states), len(cell.weights) * len(call.weights)), strict=True)
    wanted = [want for want, count in counts for _ in range(count)]
    # A gradient that passed no step is the tensor that came in; an operator must return new ones.
    return tuple(
        gradient.contiguous().clone() if want else gradient.new_empty(0)
        for gradient, want in zip(derived, wanted, strict=True)
    )


def differentiate_again(
    backward: Callable[..., tuple[Tensor, ...]],
    tensors: Sequence[Tensor | None],
    needs: Sequence[bool],
    gradients: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return the gradients by the tensors that a backward pass read, for second derivatives.

    Args:
        backward: The backward pass, differentiable if gradients are enabled.
        tensors: Its arguments.
        needs: By which of them gradients are wanted; the others are None.
        gradients: Gradients of its results; None for zeros.
    """
    attached = torch.is_grad_enabled()
    with torch.enable_grad():
        arguments = [
            _variable(tensor, attached) if need and tensor is not None else tensor
            for tensor, need in zip(tensors, needs, strict=True)
        ]
        variables = [
            tensor for tensor, need in zip(arguments, needs, strict=True) if need and tensor is not None
        ]
        derived = iter(_grad(backward(*arguments), gradients, variables, attached))
    return [
        next(derived) if need and tensor is not None else None
        for tensor, need in zip(arguments, needs, strict=True)
    ]


def _differentiate(
    cell: Cell, call: LayerCall, results: Sequence[Tensor | None], attached: bool
) -> list[Tensor]:
    """Run the reference again, with gradients, and return those by all inputs."""
    # Without biases zeros stand in: the operator's schema returns their gradients all the same.
    first, count = 1 + len(cell.states), len(cell.weights)
    zeros = call.x.new_zeros(call.weights[0].weight_hh.shape[0])
    weights = (zeros if weight is None else weight for each in call.weights for weight in each[:count])
    variables = [_variable(tensor, attached) for tensor in (call.x, *_states(call), *weights)]
    by_direction = [Weights(*variables[k : k + count]) for k in range(first, len(variables), count)]
    y, last = _scan(cell, call, variables[0], tuple(variables[1:first]), by_direction)
    return _grad((y, *last), results, variables, attached)


def _scan(
    cell: Cell, call: LayerCall, x: Tensor, states: tuple[Tensor, ...], weights: Sequence[Weights]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the outputs, laid out as x, and the last states in the shapes of the operator's results."""
    x = call.turned(x)
    if len(weights) == 1:
        y, last = reference.scan(cell, x, states, weights[0], call.lengths, call.reverse)
        return call.turned(y), last
    both = [
        reference.scan(cell, x, tuple(state[k] for state in states), weights[k], call.lengths, k == 1)
        for k in (0, 1)
    ]
    y = torch.cat([y for y, _ in both], dim=-1)
    return call.turned(y), tuple(torch.stack(each) for each in zip(*(last for _, last in both), strict=True))


def _variable(tensor: Tensor, attached: bool) -> Tensor:
    """Return a tensor to differentiate by: in the graph of the given one if `attached`, else a new leaf."""
    # A view, not the tensor: one that is passed as two arguments has a gradient for each.
    return tensor.view_as(tensor) if attached and tensor.requires_grad else tensor.detach().requires_grad_()


def _grad(
    outputs: Sequence[Tensor], gradients: Sequence[Tensor | None], inputs: list[Tensor], attached: bool
) -> list[Tensor]:
    """Return the gradients by the inputs; zeros where the outputs do not depend on them."""
    # Without steps or sequences the outputs depend on nothing.
    pairs = [
        (output, gradient)
        for output, gradient in zip(outputs, gradients, strict=True)
        if gradient is not None and output.requires_grad
    ]
    if not pairs:
        return [torch.zeros_like(tensor) for tensor in inputs]
    differentiated, given = zip(*pairs, strict=True)
    return list(
        torch.autograd.grad(
            differentiated, inputs, given, create_graph=attached, allow_unused=True, materialize_grads=True
        )
    )


def _states(call: LayerCall) -> tuple[Tensor, ...]:
    N, _, _, H, P = call.sizes()
    shapes = call.state_shapes(N, H, P)
    return tuple(
        call.x.new_zeros(shape) if state is None else state
        for state, shape in zip(call.states, shapes, strict=True)
    )


def _in_fresh_thread(compute: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Return what `compute` returns when run in a new thread.

    Torch's dispatcher turns autograd off for the calling thread while it runs an operator's implementation;
    a new thread starts without that state.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(compute).result()
