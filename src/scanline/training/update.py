"""The update of the weights: the norm of the gradient, clipping, and Adam.

The native library makes the update in one call; without it, or on a GPU, torch does. The bits are the same.
The state is always that of `torch.optim.Adam`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scanline.kernels.library import AdamArrays, Library, load

# torch divides by the norm + 1e-6 in float32. Below the limit by more than this it multiplies the gradient by
# 1, which changes no bit and is left out.
_ROUNDING = 1e-5


def gradient_norm(parameters: list[Tensor]) -> Tensor:
    """Return the norm of all gradients together, as one number."""
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    # What `nn.utils.get_total_norm` does with tensors of one device and dtype.
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm


@torch.no_grad()
def update(optimizer: torch.optim.Adam, total_norm: Tensor, clip_norm: float, threads: int) -> None:
    """Clip the gradients in place and make one step of Adam.

    Args:
        optimizer: Adam without its options: one group, no weight decay, no amsgrad.
        total_norm: The norm of all gradients together.
        clip_norm: Largest norm of the gradients; 0 does not clip them.
        threads: The most threads that the native library uses.
    """
    (group,) = optimizer.param_groups
    parameters: list[Tensor] = group["params"]
    clips = bool(clip_norm) and total_norm.item() > clip_norm * (1 - _ROUNDING) - _ROUNDING
    library = load()
    arrays = None if library is None else _arrays(optimizer, parameters)
    if library is None or arrays is None:
        if clips:
            nn.utils.clip_grads_with_norm_(parameters, clip_norm, total_norm)
        optimizer.step()
        return
    # As `nn.utils.clip_grads_with_norm_` computes it.
    scale = (clip_norm / (total_norm + 1e-6)).clamp(max=1.0).item() if clips else 1.0
    _native_update(library, optimizer, arrays, scale, threads)


def _arrays(optimizer: torch.optim.Adam, parameters: list[Tensor]) -> list[AdamArrays] | None:
    """Return what the native update works on; None if the library cannot."""
    arrays = []
    for weight in parameters:
        gradient = weight.grad
        if gradient is None:
            continue
        state = optimizer.state[weight]
        if not state:
            # As torch's own first step begins.
            state["step"] = torch.tensor(0.0, dtype=torch.float32, device="cpu")
            state["exp_avg"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        array = AdamArrays(weight, gradient, state["exp_avg"], state["exp_avg_sq"])
        for tensor in array:
            if not (tensor.is_cpu and tensor.dtype == torch.float32 and tensor.is_contiguous()):
                return None
        arrays.append(array)
    return arrays


def _native_update(
    library: Library, optimizer: torch.optim.Adam, arrays: list[AdamArrays], scale: float, threads: int
) -> None:
    """Make one step of Adam with gradients multiplied by `scale`."""
    (group,) = optimizer.param_groups
    steps = [optimizer.state[array.weight]["step"] for array in arrays]
    torch._foreach_add_(steps, 1.0)
    count = steps[0].item()
    beta1, beta2 = group["betas"]
    # In float64 and in the order of `torch.optim.adam`, so that they round to the same float32 numbers.
    root_correction = (1 - beta2**count) ** 0.5
    step_size = (group["lr"] / (1 - beta1**count)) * -1
    numbers = (scale, 1 - beta1, beta2, 1 - beta2, root_correction, group["eps"], step_size)
    library.adam_update(numbers, threads, arrays)
    # Autograd and caches see that the weights have changed.
    torch.autograd.graph.increment_version([array.weight for array in arrays])
