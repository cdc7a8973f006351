// One part of a layer, (T, H), as an image: a column for each step, a row for each unit.
import { Raster, write } from "./canvas";
import type { Pen } from "./canvas";
import type { Theme } from "./theme";

/** In steps, so that it stays calm while somebody draws. */
const rounded = (size: number): number =>
  [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100].find((step) => size <= step) ?? Math.ceil(size);

/** The size at which the colours end, 1 or more: cell states may pass 1. */
export interface Scale {
  size: number;
  /** Whether some values lie beyond. */
  cut: boolean;
}

/** One value in a hundred may lie beyond: a few large ones would make all others pale. */
export function scaleOf(values: number[][]): Scale {
  const sizes = Float32Array.from(values.flat(), Math.abs).sort();
  const size = rounded(sizes[Math.floor((sizes.length - 1) * 0.99)] ?? 1);
  return { size, cut: (sizes[sizes.length - 1] ?? 0) > size };
}

/** Value by value; of unequal length as far as both go. */
export const less = (values: number[][], before: number[][]): number[][] =>
  values.slice(0, before.length).map((row, t) => row.map((value, unit) => value - before[t]![unit]!));

/** A scale that all values lie within. */
export const wholeScale = (values: number[]): number => rounded(Math.max(...values.map(Math.abs)));

/** gate: from 0 to 1, otherwise around 0. */
export function colourIn(
  raster: Raster,
  values: number[][],
  order: number[],
  gate: boolean,
  scale: Scale,
  colours: Theme,
): void {
  const count = values.length;
  const pixels = raster.size(Math.max(1, count), Math.max(1, order.length));
  const ramp = gate ? colours.gate : colours.signed;
  const [gain, zero] = gate ? [255, 0] : [127.5 / scale.size, 127.5];
  for (let t = 0; t < count; t++) {
    const row = values[t]!;
    for (let at = 0; at < order.length; at++) {
      const unit = order[at]!;
      const value = row[unit]!;
      // Out of bounds would read as undefined, which is black: clamp.
      pixels[at * count + t] = ramp[Math.min(255, Math.max(0, Math.round(value * gain + zero)))]!;
    }
  }
  raster.done();
}

/** The colours with their ends named. */
export function drawLegend(pen: Pen, x: number, y: number, width: number, gate: boolean, scale: Scale, colours: Theme): void {
  const ramp = gate ? colours.gate : colours.signed;
  const bar = new Raster();
  bar.size(256, 1).set(ramp);
  bar.done();
  const low = gate ? "0" : `${scale.cut ? "≤ " : ""}−${scale.size}`;
  const high = gate ? "1" : `${scale.cut ? "≥ " : ""}${scale.size}`;
  const room = 7 + 7 * low.length;
  write(pen, low, x, y + 5, colours.quiet, 11);
  bar.draw(pen, x + room, y, width - 2 * room, 10);
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  pen.strokeRect(x + room + 0.5, y + 0.5, width - 2 * room - 1, 9);
  write(pen, high, x + width, y + 5, colours.quiet, 11, "right");
}
