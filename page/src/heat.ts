// One part of a layer, (T, H), as an image: a column for each step, a row for each unit.
import { Raster, write } from "./canvas";
import type { Pen } from "./canvas";
import type { Theme } from "./theme";

/** Rounds a scale up, so that it does not flicker while somebody draws. */
const rounded = (size: number): number =>
  [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100].find((step) => size <= step) ?? Math.ceil(size);

/** The magnitude at which the colours end; cell states may exceed 1. */
export interface Scale {
  size: number;
  /** Whether some values are larger. */
  cut: boolean;
}

/** Clips the largest 1 % of the values: a few large ones would make all others pale. */
export function scaleOf(values: number[][]): Scale {
  const sizes = Float32Array.from(values.flat(), Math.abs).sort();
  const size = rounded(sizes[Math.floor((sizes.length - 1) * 0.99)] ?? 1);
  return { size, cut: (sizes[sizes.length - 1] ?? 0) > size };
}

/** Subtracts value by value, up to the shorter length. */
export const subtract = (values: number[][], before: number[][]): number[][] =>
  values.slice(0, before.length).map((row, t) => row.map((value, unit) => value - before[t]![unit]!));

/** A scale that includes all values. */
export const wholeScale = (values: number[]): number => rounded(Math.max(...values.map(Math.abs)));

/** gate: whether values are 0 to 1, otherwise they are around 0. */
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
      // An index out of bounds would give undefined, which is black: clamp it.
      pixels[at * count + t] = ramp[Math.min(255, Math.max(0, Math.round(value * gain + zero)))]!;
    }
  }
  raster.done();
}

/** Draws the colour scale with labels at its ends. */
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
