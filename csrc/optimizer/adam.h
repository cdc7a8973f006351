// Adam's update of the weights, with the bits of torch.optim.Adam(foreach=True).
#pragma once

#include "scanline.h"

namespace scanline {

void update_weights(const scanline_adam &step, const scanline_adam_weights *weights, int64_t arrays);

}  // namespace scanline
