"""An ONNX graph under construction, with names that people can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from scanline.version import __version__

_AXES_ARE_INPUTS = {"ReduceSum": 13, "ReduceMax": 18, "ReduceMin": 18}  # from these opsets on


class GraphBuilder:
    """Nodes, constants and the names of the tensors between them, in the order of computation.

    Pooling and other transforms add their own nodes through this class; see `scanline.model.pooling.Graph`.
    Only operators are used that mean the same in all opsets from 11 on (which introduced Range); where a
    later opset turned an attribute into an input, the builder writes the form that the opset has.

    Attributes:
        opset: Version of the operators.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant, unless there is one of this name, and return its name."""
        # Constants are shared by name; callers use a name for one value only.
        self._constants.setdefault(name, np.array(value, dtype, order="C"))
        return name

    def numbers(self, *values: int) -> str:
        """Add an int64 vector, such as a shape or axes, and return its name."""
        return self.constant("numbers_" + "_".join(map(str, values)).replace("-", "minus"), values, np.int64)

    def add(self, operator: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add a node, named after its first output, and return the name of that output."""
        name = next(output for output in outputs if output)
        self._nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def reshape(self, value: str, shape: Sequence[int], output: str) -> str:
        """Add a node that reshapes `value`: 0 keeps a size, -1 is inferred. Return the result's name."""
        return self.add("Reshape", [value, self.numbers(*shape)], output)

    def reduce(self, operator: str, value: str, axes: Sequence[int], output: str) -> str:
        """Add a reduction over `axes`, which are dropped, and return the result's name."""
        # From that opset on, axes are an input; before, an attribute.
        if self.opset >= _AXES_ARE_INPUTS[operator]:
            return self.add(operator, [value, self.numbers(*axes)], output, keepdims=0)
        return self.add(operator, [value], output, axes=axes, keepdims=0)

    def include(self, graph: GraphProto) -> None:
        """Add all nodes and constants of a graph, whose names differ from those that are here already."""
        self._nodes += graph.node
        self._constants |= {each.name: numpy_helper.to_array(each) for each in graph.initializer}

    def model(
        self,
        name: str,
        inputs: Sequence[ValueInfoProto],
        outputs: Sequence[ValueInfoProto],
        properties: dict[str, str],
        description: str,
    ) -> ModelProto:
        """Return the complete model, in the oldest file format that has the opset.

        Args:
            name: Name of the graph.
            inputs: Inputs of the graph.
            outputs: Outputs of the graph.
            properties: Metadata of the model.
            description: Its documentation.
        """
        graph = helper.make_graph(
            self._nodes,
            name,
            inputs,
            outputs,
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            # onnx would write its newest IR version, which older runtimes refuse to load.
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="scanline",
            producer_version=__version__,
            doc_string=description,
        )
        helper.set_model_props(model, properties)
        return model


def value_info(
    name: str, shape: Sequence[Any], description: str, kind: int = TensorProto.FLOAT
) -> ValueInfoProto:
    """Return the declaration of an input or output; sizes are numbers or names of dimensions."""
    return helper.make_tensor_value_info(name, kind, shape, description)


def to_array(tensor: Any) -> NDArray[np.float32]:
    """Return a torch tensor as a float32 array on the CPU."""
    array: NDArray[np.float32] = tensor.detach().cpu().numpy()
    return array
