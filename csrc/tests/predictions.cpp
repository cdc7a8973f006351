// Predictors and the update of the weights, which tests/kernels/remote.py does not call: results must not depend on
// the number of threads, on the other sequences of a call, or on the pieces in which a stream arrives. For sanitizers,
// valgrind and emulated processors (make sanitize, tsan, valgrind, test-neon). Exits with 1 at the first difference.
//
// Networks are all combinations of cell, sizes, layers, directions, pooling, head and type of values; of every kernel
// each n-th one is computed, n the first argument (7), prime to 6 so that all choices occur.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "scanline.h"
#include "tests/values.h"

namespace {

constexpr const char *cells[] = {"LSTM", "GRU", "tanh RNN", "ReLU RNN"};
constexpr const char *poolings[] = {"last", "last step", "mean", "max"};
constexpr int64_t gates[] = {4, 3, 1, 1};

struct Sizes {
  int64_t F, H;
  std::vector<int64_t> lengths;
};
// Threads share a sequence of the last one.
const Sizes sizes[] = {{5, 3, {3, 1, 6, 2, 9, 4, 1}}, {7, 19, {2, 5, 5, 1, 3}}, {5, 33, {4, 4, 4}}, {40, 131, {3, 1, 4}}};
constexpr int64_t outputs = 11;

std::string context;  // what is computed, for messages
int checks = 0;

void expect(bool holds, const std::string &what) {
  ++checks;
  if (holds) return;
  std::printf("%s: %s\n", context.c_str(), what.c_str());
  std::exit(1);
}

std::string on(int threads) { return " on " + std::to_string(threads) + (threads == 1 ? " thread" : " threads"); }

int64_t sum(const std::vector<int64_t> &lengths) {
  int64_t total = 0;
  for (const int64_t length : lengths) total += length;
  return total;
}

// A network, the sequences that it reads, and the memory of both.
struct Case {
  scanline_network network{};
  std::vector<int64_t> lengths;
  std::vector<float> numbers;  // (sum of lengths, F)
  std::vector<uint8_t> bytes;  // the same numbers, or empty
  std::vector<std::vector<float>> arrays;
  std::vector<const float *> pointers;
  scanline_predictor *predictor = nullptr;

  const float *array(int64_t count, float scale, float offset = 0.0f) {
    arrays.push_back(values(count, scale, static_cast<uint32_t>(arrays.size() + 1)));
    for (float &value : arrays.back()) value += offset;
    return arrays.back().data();
  }

  // The `index`-th combination.
  Case(int precision, int index) {
    const auto choose = [&](int count) {
      const int choice = index % count;
      index /= count;
      return choice;
    };
    const Sizes &z = sizes[choose(4)];
    scanline_network &n = network;
    n.precision = precision, n.cell = choose(4), n.pooling = choose(4), n.layers = 1 + choose(3), n.directions = 1 + choose(2);
    const bool head = choose(2), is_bytes = choose(2);
    lengths = z.lengths, n.features = z.F, n.units = z.H;
    const int64_t G = gates[n.cell], D = n.directions;
    for (int64_t layer = 0; layer < n.layers; ++layer)
      for (int64_t d = 0; d < D; ++d)
        for (const int64_t columns : {layer ? D * z.H : z.F, z.H, int64_t{1}, int64_t{1}})
          pointers.push_back(array(G * z.H * columns, columns == 1 ? 0.5f : 0.15f));
    if (n.layers == 2) arrays.pop_back(), pointers.back() = nullptr;  // no bias
    n.weights = pointers.data();
    n.shift = array(z.F, 20.0f, 128.0f), n.scale = array(z.F, 10.0f, 60.0f);
    n.outputs = head ? outputs : D * z.H;
    if (head) n.head_weight = array(outputs * D * z.H, 0.2f), n.head_bias = array(outputs, 1.0f);
    numbers = values(sum(lengths) * z.F, 128.0f);
    for (float &number : numbers) number = std::floor(number) + 128.0f;
    if (is_bytes) bytes.assign(numbers.begin(), numbers.end());
    context = std::string(scanline_kernel_in_use(precision)) + ", " + cells[n.cell] + ", F=" + std::to_string(z.F) +
              ", H=" + std::to_string(z.H) + ", layers=" + std::to_string(n.layers) + ", directions=" + std::to_string(D) +
              ", pooling=" + poolings[n.pooling] + (head ? ", head" : ", no head") + (is_bytes ? ", uint8" : ", float32");
    expect(scanline_predictor_new(&network, &predictor) == SCANLINE_OK, "no predictor");
  }
  Case(const Case &) = delete;
  ~Case() { scanline_predictor_free(predictor); }

  int64_t start(int64_t sequence) const { return sum({lengths.begin(), lengths.begin() + sequence}); }

  // The outputs for `count` sequences from `first` on, (count, M); of the first one only the first `steps`, unless 0.
  std::vector<float> predict(int64_t first, int64_t count, int threads, int64_t steps = 0) const {
    std::vector<int64_t> read(lengths.begin() + first, lengths.begin() + first + count);
    if (steps) read[0] = steps;
    std::vector<float> result(static_cast<size_t>(count * network.outputs), NAN);
    const int64_t offset = start(first) * network.features;
    scanline_prediction call{};
    call.sequences = count, call.lengths = read.data(), call.bytes = !bytes.empty(), call.threads = threads;
    call.values = bytes.empty() ? static_cast<const void *>(numbers.data() + offset) : bytes.data() + offset;
    call.outputs = result.data();
    if (scanline_predict(predictor, &call) != SCANLINE_OK) result.clear();
    return result;
  }

  // The outputs after each step, (sum of lengths, M), with at most `chunk` steps of each sequence a call.
  std::vector<float> stream(int64_t first, int64_t count, int64_t chunk, int threads) const {
    const int64_t F = network.features, H = network.units, M = network.outputs, states = network.layers * count * H;
    const int64_t longest = *std::max_element(lengths.begin() + first, lengths.begin() + first + count);
    std::vector<float> h(static_cast<size_t>(states)), c(h), maxima(static_cast<size_t>(count * H), -INFINITY);
    std::vector<double> sums(static_cast<size_t>(count * H));
    std::vector<int64_t> counts(static_cast<size_t>(count));
    std::vector<float> result(static_cast<size_t>((start(first + count) - start(first)) * M), NAN);
    for (int64_t from = 0; from < longest; from += chunk) {
      const int64_t t = std::min(chunk, longest - from);
      std::vector<float> x(static_cast<size_t>(count * t * F), NAN), y(static_cast<size_t>(count * t * M), NAN);
      std::vector<int64_t> now;
      for (int64_t k = 0; k < count; ++k) {
        now.push_back(std::clamp<int64_t>(lengths[first + k] - from, 0, t));
        if (now[k]) std::copy_n(numbers.data() + (start(first + k) + from) * F, now[k] * F, x.data() + k * t * F);
      }
      scanline_stream call{};
      call.sequences = count, call.steps = t, call.lengths = now.data(), call.values = x.data(), call.threads = threads;
      call.h = h.data(), call.c = c.data(), call.counts = counts.data(), call.outputs = y.data();
      call.pooled = network.pooling == SCANLINE_MEAN  ? static_cast<void *>(sums.data())
                    : network.pooling == SCANLINE_MAX ? static_cast<void *>(maxima.data())
                                                      : nullptr;
      if (scanline_predict_stream(predictor, &call) != SCANLINE_OK) return {};
      for (int64_t k = 0; k < count; ++k)
        if (now[k])
          std::copy_n(y.data() + k * t * M, now[k] * M, result.data() + (start(first + k) - start(first) + from) * M);
    }
    if (network.cell != SCANLINE_LSTM && c != std::vector<float>(c.size())) result.clear();  // has no such state
    return result;
  }

  void check_predictions() const {
    const auto n = static_cast<int64_t>(lengths.size());
    std::vector<float> expected, steps;
    for (int64_t k = 0; k < n; ++k) {
      const std::vector<float> one = predict(k, 1, 1);
      expected.insert(expected.end(), one.begin(), one.end());
      for (const int threads : {2, 3}) expect(equal(predict(k, 1, threads), one), "one sequence differs" + on(threads));
      for (int64_t t = 1; t <= lengths[k]; ++t) {
        const std::vector<float> prefix = predict(k, 1, 1, t);
        steps.insert(steps.end(), prefix.begin(), prefix.end());
      }
    }
    expect(std::all_of(steps.begin(), steps.end(), [](float v) { return std::isfinite(v); }), "outputs are not finite");
    for (const int threads : {1, 2, 3})
      expect(equal(predict(0, n, threads), expected), "all sequences in one call differ" + on(threads));
    for (const int64_t chunk : {1, 2, 5}) {
      if (network.directions == 2) break;
      const std::string how = "stream in chunks of " + std::to_string(chunk) + " differs";
      for (const int threads : {1, 2, 3}) expect(equal(stream(0, n, chunk, threads), steps), how + on(threads));
      std::vector<float> alone;
      for (int64_t k = 0; k < n; ++k) {
        const std::vector<float> one = stream(k, 1, chunk, 3);
        alone.insert(alone.end(), one.begin(), one.end());
      }
      expect(equal(alone, steps), how + " for sequences alone");
    }
    check_callers(expected, steps);
  }

  // Several threads use one predictor, as in a server.
  void check_callers(const std::vector<float> &expected, const std::vector<float> &steps) const {
    const auto n = static_cast<int64_t>(lengths.size());
    const auto last = static_cast<ptrdiff_t>(expected.size()) - network.outputs;
    const std::vector<float> of_last(expected.begin() + last, expected.end());
    bool same[3];
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 3; ++caller)
      callers.emplace_back([&, caller] {
        same[caller] = equal(predict(0, n, caller + 1), expected);
        same[caller] = equal(predict(n - 1, 1, 2), of_last) && same[caller];
        if (network.directions == 1) same[caller] = equal(stream(0, n, 2, 2), steps) && same[caller];
      });
    for (std::thread &caller : callers) caller.join();
    expect(same[0] && same[1] && same[2], "concurrent calls differ");
  }

  // `index`: of a weight.
  void check_holds(size_t index) {
    expect(scanline_predictor_holds(predictor, &network) == 1, "does not hold the weights that it was made from");
    std::vector<float> &array = arrays[index % arrays.size()];
    float &weight = array[index % array.size()];
    const float before = weight;
    weight = std::nextafter(weight, 1e9f);
    expect(scanline_predictor_holds(predictor, &network) == 0, "holds weights of which one changed");
    weight = before;
    std::swap(pointers[pointers.size() - 1], pointers[pointers.size() - 2]);
    expect(scanline_predictor_holds(predictor, &network) == 0, "holds weights whose biases were exchanged");
  }
};

// The arrays of one step of Adam.
struct Weights {
  std::vector<float> weight, gradient, mean, square;

  explicit Weights(int64_t count)
      : weight(values(count, 1.0f, 1)), gradient(values(count, 0.1f, 2)), mean(values(count, 0.05f, 3)), square(count) {
    for (size_t k = 0; k < square.size(); ++k) square[k] = 0.01f * std::fabs(weight[k]);
  }

  bool same(const Weights &other) const {
    return equal(weight, other.weight) && equal(gradient, other.gradient) && equal(mean, other.mean) &&
           equal(square, other.square);
  }
};

std::vector<Weights> all_sizes() { return {Weights(1), Weights(15), Weights(16), Weights(17), Weights(1000), Weights(100000)}; }

std::vector<Weights> updated(const scanline_adam &step) {
  std::vector<Weights> result = all_sizes();
  std::vector<scanline_adam_weights> arrays;
  for (Weights &w : result)
    arrays.push_back({w.weight.data(), w.gradient.data(), w.mean.data(), w.square.data(), static_cast<int64_t>(w.weight.size())});
  expect(scanline_adam_update(&step, arrays.data(), static_cast<int64_t>(arrays.size())) == SCANLINE_OK, "no update");
  return result;
}

// Whether `value` is a + b after a few roundings of both and of the sum.
bool near(float value, double a, double b) { return std::fabs(value - (a + b)) <= 4e-7 * (std::fabs(a) + std::fabs(b)); }

// The formulas of scanline.h in float64, each with the gradient, mean and square that the step computed.
bool follows(const scanline_adam &s, const Weights &old, const Weights &now) {
  for (size_t k = 0; k < old.weight.size(); ++k) {
    const double g = now.gradient[k], root = std::sqrt(static_cast<double>(now.square[k]));
    if (now.gradient[k] != old.gradient[k] * s.gradient_scale) return false;
    if (!near(now.mean[k], old.mean[k], s.mean_rate * (g - old.mean[k]))) return false;
    if (!near(now.square[k], double{s.square_decay} * old.square[k], s.square_rate * g * g)) return false;
    if (!near(now.weight[k], old.weight[k], double{s.step_size} * now.mean[k] / (root / s.root_correction + s.epsilon))) return false;
  }
  return true;
}

void check_adam(float gradient_scale) {
  context = "Adam, gradients scaled by " + std::to_string(gradient_scale);
  scanline_adam step{gradient_scale, 0.1f, 0.999f, 0.001f, 0.05f, 0.01f, -0.01f, 1, nullptr, 0};
  const std::vector<Weights> before = all_sizes(), expected = updated(step);
  const auto same = [&] {
    const std::vector<Weights> now = updated(step);
    return std::equal(now.begin(), now.end(), expected.begin(), [](const auto &a, const auto &b) { return a.same(b); });
  };
  for (size_t k = 0; k < before.size(); ++k) expect(follows(step, before[k], expected[k]), "differs from the formula");
  for (step.threads = 2; step.threads <= 3; ++step.threads) expect(same(), "differs" + on(step.threads));
  step.roots = [](int64_t count, const float *from, float *to, int64_t) {
    for (int64_t k = 0; k < count; ++k) to[k] = std::sqrt(from[k]);
  };
  expect(same(), "differs with roots of the caller");
}

}  // namespace

int main(int count, char **arguments) {
  const int stride = count > 1 ? std::max(1, std::atoi(arguments[1])) : 7;
  constexpr int combinations = 4 * 4 * 4 * 3 * 2 * 2 * 2;
  int networks = 0;
  for (const int precision : {SCANLINE_FLOAT32, SCANLINE_BFLOAT16}) {
    const char *name;
    for (int kernel = 0; (name = scanline_kernel(precision, kernel)); ++kernel) {
      scanline_use_kernel(precision, name);
      for (int index = kernel; index < combinations; index += stride, ++networks) {
        Case drawn(precision, index);
        drawn.check_predictions();
        drawn.check_holds(static_cast<size_t>(networks) * 7919);
      }
    }
  }
  for (const float scale : {1.0f, 0.37f}) check_adam(scale);
  std::printf("%d networks and 2 updates of the weights: %d checks passed\n", networks, checks);
  return 0;
}
