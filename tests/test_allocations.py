"""No tensor of the package follows torch's default dtype or device, which other programs change."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import scanline

CREATE = {
    "arange", "empty", "empty_strided", "eye", "full", "linspace", "logspace", "ones", "rand", "randint",
    "randn", "randperm", "range", "scalar_tensor", "tensor", "zeros",
}  # fmt: skip
# These keep the dtype of an array, but put it on the default device.
CONVERT = {"as_tensor", "asarray"}
MODULES = {"Linear", "Embedding", "LayerNorm", "BatchNorm1d", "Conv1d"}


def allocations(source: str) -> Iterator[tuple[int, str, set[str]]]:
    """Yield line, call and missing arguments of each creation of a tensor that follows a default."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id in ("torch", "nn")):
            continue
        name = node.func.attr
        required = (
            {"dtype", "device"} if name in CREATE
            else {"device"} if name in CONVERT
            else {"dtype"} if name in MODULES and node.func.value.id == "nn"
            else set()
        )  # fmt: skip
        missing = required - {keyword.arg for keyword in node.keywords}
        if missing:
            yield node.lineno, ast.unparse(node), missing


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("torch.zeros(3)", {"dtype", "device"}),
        ("torch.zeros(3, dtype=torch.float32)", {"device"}),
        ("torch.as_tensor(a)", {"device"}),
        ("nn.Linear(2, 3)", {"dtype"}),
    ],
)
def test_the_rule_reports_a_missing_assertion(source, missing):
    assert [each[2] for each in allocations(source)] == [missing]


def test_every_allocation_states_dtype_and_device():
    root = Path(scanline.__file__).parent
    faults = [
        f"{path.relative_to(root)}:{line}: {call} lacks {', '.join(sorted(missing))}"
        for path in sorted(root.rglob("*.py"))
        for line, call, missing in allocations(path.read_text(encoding="utf-8"))
    ]
    assert not faults, "\n".join(faults)
