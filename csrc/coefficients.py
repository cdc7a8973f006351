"""The polynomials in activations.h: prints them. Needs mpmath. Run: python csrc/coefficients.py

2^f for 0 <= f < 1 with the smallest worst relative error, by Remez's exchange (E. Remez 1934): a polynomial
whose error takes its largest value, with alternating signs, at degree + 2 points cannot be bettered.
"""

from mpmath import chop, cos, linspace, lu_solve, matrix, mp, mpf, pi

mp.dps = 40


def remez(degree: int) -> tuple[list[mpf], mpf]:
    """(coefficients from the constant up, worst relative error) of 2^f on [0, 1]."""
    count = degree + 2
    points = [(1 - cos(pi * k / (count - 1))) / 2 for k in range(count)]
    grid = linspace(mpf(0), mpf(1), 4001)
    for _ in range(12):
        # sum_k c_k x^k + (-1)^j e 2^x = 2^x at each point j
        rows = [[x**k for k in range(degree + 1)] + [(-1) ** j * 2**x] for j, x in enumerate(points)]
        solved = lu_solve(matrix(rows), matrix([2**x for x in points]))
        coefficients = list(solved)[:-1]
        errors = [1 - sum(c * x**k for k, c in enumerate(coefficients)) / 2**x for x in grid]
        points, start = [], 0
        for end in range(1, len(grid) + 1):  # the largest error of each stretch of one sign
            if end == len(grid) or (errors[end] > 0) != (errors[start] > 0):
                points.append(grid[max(range(start, end), key=lambda k: abs(errors[k]))])
                start = end
        if len(points) != count:
            raise RuntimeError(f"{len(points)} extrema in place of {count}")
    return coefficients, max(abs(error) for error in errors)


if __name__ == "__main__":
    for degree in (3, 5):
        found, worst = remez(degree)
        print(f"degree {degree}, worst relative error {mp.nstr(worst, 3)}:")
        for coefficient in found:
            print(f"  {mp.nstr(chop(coefficient), 10)}f")
