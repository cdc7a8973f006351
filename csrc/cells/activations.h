// sigmoid and tanh of a vector, through 2^z = 2^floor(z) p(z - floor(z)) with a polynomial p.
//
// cells/coefficients.py computes the coefficients. With Operand::exact the degree is 5 and the relative error of
// 2^z at most 7.5e-8. Otherwise it is 3 and 7.5e-5, which is enough where the result is rounded to bfloat16
// (2e-3). tests/kernels/test_activations.py checks the worst absolute error over all finite floats.
#pragma once

namespace scanline {
namespace {

template <class Operand>
struct Activations {
  using Vector = typename Operand::Vector;
  using vector = typename Vector::type;

  static vector sigmoid(vector x) {
    return inverse_of_one_plus_exp2<Operand::exact>(Vector::mul(x, Vector::all(-1.44269504f)));
  }

  static vector tanh(vector x) {
    if (!Operand::exact) {  // 2 sigmoid(2 x) - 1
      const auto s = inverse_of_one_plus_exp2<false>(Vector::mul(x, Vector::all(-2.88539008f)));
      return Vector::fma(s, Vector::all(2.0f), Vector::all(-1.0f));
    }
    // 1 - 2 e / (1 + e) with e = exp(-2 |x|) <= 1: the term that carries rounding errors is small near tanh = 1.
    const auto e = exp2<true>(Vector::clamp(Vector::mul(Vector::magnitude(x), Vector::all(-2.88539008f))));
    const auto inverse = Vector::reciprocal(Vector::add(e, Vector::all(1.0f)), e);
    return Vector::with_sign(Vector::fnma(Vector::add(e, e), inverse, Vector::all(1.0f)), x);
  }

 private:
  // 2^z for a clamped z.
  template <bool exact>
  static vector exp2(vector z) {
    const auto f = Vector::fraction(z);
    vector p;
    if (exact) {
      p = Vector::fma(Vector::all(0.0018775767f), f, Vector::all(0.008989340024f));
      p = Vector::fma(p, f, Vector::all(0.05582631812f));
      p = Vector::fma(p, f, Vector::all(0.240153617f));
      p = Vector::fma(p, f, Vector::all(0.6931530732f));
      p = Vector::fma(p, f, Vector::all(0.9999999251f));
    } else {
      p = Vector::fma(Vector::all(0.07802452269f), f, Vector::all(0.2260671554f));
      p = Vector::fma(p, f, Vector::all(0.6958335405f));
      p = Vector::fma(p, f, Vector::all(0.9999252186f));
    }
    return Vector::scale(p, z);
  }

  // 1 / (1 + 2^z); exactly 0 where 2^z exceeds float32, so that a sum of -infinity closes a gate completely.
  template <bool exact>
  static vector inverse_of_one_plus_exp2(vector z) {
    const auto sum = Vector::add(exp2<exact>(Vector::clamp(z)), Vector::all(1.0f));
    return exact ? Vector::reciprocal(sum, z) : Vector::rough_reciprocal(sum, z);
  }
};

}  // namespace
}  // namespace scanline
