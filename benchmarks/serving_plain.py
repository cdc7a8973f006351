"""A plain server for comparison: a web framework around a model, nothing else.

    uvicorn benchmarks.serving_plain:app

FastAPI with Pydantic's validation and torch.nn.LSTM with the weights of a run (RUN in the environment), one
request at a time. PLAIN=async computes in the event loop, otherwise in FastAPI's thread pool; THREADS:
torch's threads.
"""

from __future__ import annotations

import os

import torch
from fastapi import FastAPI
from pydantic import BaseModel
from torch import nn

import scanline

if os.environ.get("THREADS"):
    torch.set_num_threads(int(os.environ["THREADS"]))
model = scanline.load(os.environ["RUN"])
trained, a = model.network, model.network.architecture
lstm, head = nn.LSTM(a.input_size, a.hidden_size, batch_first=True), nn.Linear(a.hidden_size, a.classes)
places = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
weights = dict(zip(places, trained.recurrent.weights(0, 0), strict=True))
lstm.load_state_dict({name: weight.detach() for name, weight in weights.items()})
head.load_state_dict(trained.head.state_dict())
classes = model.classes.tolist()  # Pydantic writes no NumPy values
names = [str(name) for name in classes]
app = FastAPI()


class Pictures(BaseModel):
    """A request."""

    inputs: list[list[list[float]]]


def answer(sent: Pictures) -> dict:
    """Return the response."""
    with torch.inference_mode():
        values = (torch.tensor(sent.inputs) - trained.shift) / trained.scale
        outputs, _ = lstm(values)
        rows = head(outputs[:, -1]).softmax(1).tolist()
    predictions = []
    for row in rows:
        best = max(range(len(row)), key=row.__getitem__)
        found = {"label": classes[best], "probability": row[best]}
        predictions.append(found | {"probabilities": dict(zip(names, row, strict=True))})
    return {"predictions": predictions}


if os.environ.get("PLAIN", "threads") == "async":

    @app.post("/v1/predict")
    async def predict(sent: Pictures) -> dict:
        """Respond in the event loop."""
        return answer(sent)

else:

    @app.post("/v1/predict")
    def predict_in_threads(sent: Pictures) -> dict:
        """Respond in a thread pool."""
        return answer(sent)
