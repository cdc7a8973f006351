"""What torch's tools expect of its own recurrent modules: `torch.jit.script`, `torch.fx`, quantisation.

They know modules by their class, so that a subclass has to take part in other ways.
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn


class TorchTools(nn.RNNBase):
    """A recurrent module that torch's tools handle as torch's own."""

    def as_node(self, *arguments: Any) -> Any:
        """Return the call as one node of a `torch.fx` graph, as torch's own modules are."""
        tracer = arguments[0].tracer
        return tracer.create_proxy("call_module", tracer.path_of_module(self), arguments, {})

    def to_torch(self) -> nn.RNNBase:
        """Return torch's own module with the same parameters (shared, not copied) and settings.

        `torch.ao.quantization.quantize_dynamic` knows modules by their class: quantise what this returns.
        """
        names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
        settings = {name: getattr(self, name) for name in names}
        if self.mode.startswith("RNN_"):
            settings["nonlinearity"] = self.mode.removeprefix("RNN_").lower()
        else:
            settings["proj_size"] = self.proj_size
        if isinstance(self, nn.GRU):
            del settings["proj_size"]
        torch_class = next(c for c in type(self).__mro__ if c.__module__ == nn.RNNBase.__module__)
        module: nn.RNNBase = torch_class(**settings, device="meta")
        for name in module._parameters:
            setattr(module, name, getattr(self, name))
        module._init_flat_weights()
        return module.train(self.training)

    def __prepare_scriptable__(self) -> nn.RNNBase:
        """Return what `torch.jit.script` compiles in the place of this module."""
        return self.to_torch()

    @property
    def qconfig(self) -> Any:
        """What `torch.ao.quantization` asks for; it knows only torch's own classes."""
        if "_qconfig" not in self.__dict__:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute 'qconfig'")
        return self.__dict__["_qconfig"]

    @qconfig.setter
    def qconfig(self, value: Any) -> None:
        if value is None:
            warnings.warn(
                f"scanline.nn.{type(self).__name__} is not quantised: torch.ao.quantization knows modules by "
                "their class; replace the module by module.to_torch() first",
                stacklevel=2,
            )
        self.__dict__["_qconfig"] = value

    @qconfig.deleter
    def qconfig(self) -> None:
        self.__dict__.pop("_qconfig", None)
