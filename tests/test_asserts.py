"""`python -O` removes asserts, so that none may check input: they only narrow types for mypy."""

from __future__ import annotations

import ast
from pathlib import Path

import scanline


def _narrows(test):
    """Whether a condition is `... is not None` or `isinstance(...)`, of something that has no side effect."""
    if isinstance(test, ast.Compare):
        return isinstance(test.ops[0], ast.IsNot) and isinstance(test.left, ast.Name | ast.Attribute)
    return isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "isinstance"


def test_asserts_only_narrow_types():
    package = Path(scanline.__file__).parent
    others = [
        f"{path.relative_to(package)}:{node.lineno}"
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert) and not _narrows(node.test)
    ]
    assert others == []
