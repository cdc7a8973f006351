"""Compute the polynomial coefficients in cells/activations.h and print them.

Needs mpmath. Run: python csrc/cells/coefficients.py

The polynomial approximates 2^f for 0 <= f < 1 with the smallest maximum relative error. Its error takes its
largest magnitude, with alternating signs, at degree + 2 points.
Source: the exchange algorithm of E. Remez (1934).
"""

from mpmath import chop, cos, linspace, lu_solve, matrix, mp, mpf, pi

mp.dps = 40
ITERATIONS = 12


def remez(degree: int) -> tuple[list[mpf], mpf]:
    """Return the best polynomial approximation of 2^f on [0, 1].

    Args:
        degree: Degree of the polynomial.

    Returns:
        (coefficients from the constant term up, maximum relative error).

    Raises:
        RuntimeError: If the error does not alternate as often as it must.
    """
    count = degree + 2
    points = [(1 - cos(pi * k / (count - 1))) / 2 for k in range(count)]
    grid = linspace(mpf(0), mpf(1), 4001)
    for _ in range(ITERATIONS):
        # At every point j: sum_k c_k x^k + (-1)^j e 2^x = 2^x
        rows = [[x**k for k in range(degree + 1)] + [(-1) ** j * 2**x] for j, x in enumerate(points)]
        solution = lu_solve(matrix(rows), matrix([2**x for x in points]))
        coefficients = list(solution)[:-1]
        errors = [1 - sum(c * x**k for k, c in enumerate(coefficients)) / 2**x for x in grid]
        points = extrema(grid, errors)
        if len(points) != count:
            raise RuntimeError(f"expected {count} extrema, got {len(points)}")
    return coefficients, max(abs(error) for error in errors)


def extrema(grid: list[mpf], errors: list[mpf]) -> list[mpf]:
    """Return the point of the largest error within each run of errors of one sign."""
    points, start = [], 0
    for end in range(1, len(grid) + 1):
        if end == len(grid) or (errors[end] > 0) != (errors[start] > 0):
            points.append(grid[max(range(start, end), key=lambda k: abs(errors[k]))])
            start = end
    return points


if __name__ == "__main__":
    for degree in (3, 5):
        coefficients, error = remez(degree)
        print(f"degree {degree}, maximum relative error {mp.nstr(error, 3)}:")
        for coefficient in coefficients:
            print(f"  {mp.nstr(chop(coefficient), 10)}f")
