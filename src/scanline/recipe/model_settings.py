"""The recipe section `model`: the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scanline.recipe.section import Section
from scanline.recipe.values import Cell, CountOrOff, DropoutOn, Flag, Fraction, Layers, Readout, Size


class ModelSettings(Section):
    """The network and the initialisation of its weights."""

    cell: Cell = Field(
        description="recurrent cell: lstm, gru, rnn, gru-reset-before, or a cell of another package"
    )
    layers: Layers = Field(description="number of recurrent layers")
    hidden_size: Size = Field(description="units per layer and direction")
    bidirectional: Flag = Field(description="also read each sequence backwards")
    classes: CountOrOff = Field(description="number of outputs; 0: the number of classes in the data")
    dropout: Fraction = Field(description="probability that an output is set to 0 during training")
    dropout_on: DropoutOn = Field(
        description="between: outputs of all layers but the last, as in PyTorch; every: outputs of all "
        "layers, as in TensorFlow's DropoutWrapper"
    )
    forget_bias: Annotated[float, Field(strict=True, ge=-100, le=100, allow_inf_nan=False)] = Field(
        description="initial bias of the LSTM's forget gate"
    )
    init: Literal["glorot", "orthogonal"] = Field(
        description="glorot: as in TensorFlow 1, over the joint kernel; orthogonal: recurrent weights only"
    )
    head_init: Literal["standard-normal", "truncated-normal", "xavier"] = Field(
        description="initialisation of the output layer"
    )
    readout: Readout = Field(description="pooling of the outputs over the steps")
    # Recipes of older versions have no embeddings.
    embedding_size: Annotated[int, Field(strict=True, ge=0, le=4096)] = Field(
        default=0,
        description="values that stand for a category of a categorical feature; 0: round(1.6 n**0.56) for n "
        "categories, at most 50",
    )

    @model_validator(mode="after")
    def _dropout_reaches_something(self) -> ModelSettings:
        # torch.nn.LSTM only warns in this case; here the setting would silently do nothing.
        if self.dropout and self.dropout_on == "between" and self.layers == 1:
            raise ValueError(
                'model.dropout must be 0 for a single layer if model.dropout_on is "between": '
                'set model.dropout_on to "every"'
            )
        return self
