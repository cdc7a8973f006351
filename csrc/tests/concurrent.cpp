// Calls the library from several threads at once, as a server does, and compares all results with those of one thread.
// ThreadSanitizer watches it (make tsan). Exits with 1 at the first difference.
#include <cstdio>
#include <thread>
#include <vector>

#include "scanline.h"
#include "tests/values.h"

namespace {

constexpr int callers = 4, repeats = 20;

struct Shape {
  int64_t N, T, F, H;
};
// One shape whose sequences are divided among threads, and one that threads share unit by unit.
constexpr Shape shapes[2] = {{12, 7, 5, 19}, {1, 6, 40, 150}};
constexpr int cells[] = {SCANLINE_LSTM, SCANLINE_GRU, SCANLINE_RNN_TANH, SCANLINE_LSTM_PROJECTED};

// Every result of a forward and a backward pass.
std::vector<float> train(int cell, const Shape &z, int threads) {
  const int64_t gates = cell == SCANLINE_GRU ? 3 : cell == SCANLINE_RNN_TANH ? 1 : 4;
  const int64_t projection = cell == SCANLINE_LSTM_PROJECTED ? z.H / 2 : 0, P = projection ? projection : z.H;
  const auto x = values(z.N * z.T * z.F, 1.0f), weight_ih = values(gates * z.H * z.F, 0.1f);
  const auto weight_hh = values(gates * z.H * P, 0.1f), bias = values(gates * z.H, 0.5f), dy = values(z.N * z.T * P, 1.0f);
  const auto weight_hr = values(projection * z.H, 0.1f);
  scanline_layer layer{};
  layer.sequences = z.N, layer.steps = z.T, layer.features = z.F, layer.units = z.H;
  layer.cell = cell, layer.threads = threads, layer.projection = projection;
  layer.x = x.data(), layer.x_sequence = z.T * z.F, layer.x_step = z.F;
  layer.weight_ih = weight_ih.data(), layer.weight_hh = weight_hh.data(), layer.bias_ih = bias.data();
  if (projection) layer.weight_hr = weight_hr.data();

  const int64_t y = z.N * z.T * P, states = z.N * z.H, dx = z.N * z.T * z.F, dih = gates * z.H * z.F, dhh = gates * z.H * P;
  std::vector<float> results(static_cast<size_t>(y + 2 * states + dx + dih + dhh + 2 * gates * z.H + projection * z.H));
  int64_t form[3];
  scanline_reserve_form(cell, SCANLINE_FLOAT32, form);
  const int64_t blocks = (z.H + form[1] - 1) / form[1];
  void *const reserve = scanline_take(static_cast<size_t>(form[0] + z.N * z.T * blocks * form[2]));

  float *next = results.data();
  const auto take = [&](int64_t count) {
    float *const part = next;
    next += count;
    return part;
  };
  scanline_forward forward{};
  forward.layer = layer, forward.reserve = reserve;
  forward.y = take(y), forward.y_sequence = z.T * P, forward.y_step = P;
  forward.hn = take(states), forward.cn = take(states);
  scanline_backward backward{};
  backward.layer = layer, backward.reserve = reserve;
  backward.y = forward.y, backward.y_sequence = z.T * P, backward.y_step = P;
  backward.dy = dy.data(), backward.dy_sequence = z.T * P, backward.dy_step = P;
  backward.dx = take(dx), backward.dx_sequence = z.T * z.F, backward.dx_step = z.F;
  backward.dweight_ih = take(dih), backward.dweight_hh = take(dhh), backward.dbias_ih = take(gates * z.H), backward.dbias_hh = take(gates * z.H);
  if (projection) backward.dweight_hr = take(projection * z.H);
  if (scanline_run_forward(&forward, 1) || scanline_run_backward(&backward, 1)) results.clear();
  scanline_give(reserve);
  return results;
}

}  // namespace

int main() {
  // With another number of threads gradients are summed in another order, so both sides use two.
  std::vector<std::vector<float>> expected;
  for (const int cell : cells)
    for (const Shape &shape : shapes) expected.push_back(train(cell, shape, 2));
  int differences[callers] = {};
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; ++caller)
    threads.emplace_back([&, caller] {
      for (int k = 0; k < repeats; ++k) {
        const size_t which = static_cast<size_t>(caller + k) % expected.size();
        differences[caller] += !equal(train(cells[which / 2], shapes[which % 2], 2), expected[which]);
        scanline_give(scanline_take(size_t{3} << 20));  // large enough to be kept and reused
      }
    });
  for (std::thread &thread : threads) thread.join();
  int total = 0;
  for (const int count : differences) total += count;
  std::printf("%d of %d concurrent calls differ\n", total, callers * repeats);
  return total != 0;
}
