// Draws the probability of each class after each step: lines, or a heat map if there are many classes.
import { Raster, write } from "./canvas";
import type { Pen } from "./canvas";
import type { Theme } from "./theme";
import type { Label, Trace } from "./types";
import { className } from "./format";
import { model } from "./state";

export const MAX_LINES = 12;
const MAX_ROWS = 14;
const raster = new Raster();
const MARGIN = { top: 10, bottom: 34 };
const SHORT = 11; // characters of a name

const short = (label: Label): string => {
  const whole = className(model(), label);
  return whole.length > SHORT ? `${whole.slice(0, SHORT - 1)}…` : whole;
};

/** Margins left and right of the plot, for the scale and the names at the ends of the lines. */
export function edges(trace: Trace, width: number): { left: number; right: number } {
  const longest = Math.min(SHORT, Math.max(...trace.classes.map((name) => className(model(), name).length)));
  if (trace.classes.length > MAX_LINES) return { left: Math.min(14 + 7 * longest, width / 3), right: 8 };
  return { left: 42, right: Math.min(14 + 8 * longest, width / 4) };
}

/** Classes by their largest probability at any step; the predicted class first. */
export function ranked(trace: Trace): number[] {
  const peak = trace.classes.map((_, k) => Math.max(...trace.probabilities.map((row) => row[k]!)));
  const result = trace.classes.indexOf(trace.label);
  return trace.classes.map((_, k) => k).sort((a, b) => Number(b === result) - Number(a === result) || peak[b]! - peak[a]!);
}

/** before: the trace without the what-ifs, dashed. step: null for no cursor. */
export function drawChart(
  pen: Pen,
  width: number,
  height: number,
  trace: Trace,
  before: Trace | null,
  step: number | null,
  unit: string,
  colours: Theme,
): void {
  const count = trace.probabilities.length;
  const many = trace.classes.length > MAX_LINES;
  const { left, right } = edges(trace, width);
  const [w, h] = [width - left - right, height - MARGIN.top - MARGIN.bottom];
  const x = (t: number): number => left + ((t + 0.5) / count) * w;
  const y = (p: number): number => MARGIN.top + h * (1 - p);
  const order = ranked(trace);
  if (many) {
    const rows = order.slice(0, MAX_ROWS);
    const pixels = raster.size(count, rows.length);
    rows.forEach((k, r) => {
      for (let t = 0; t < count; t++) pixels[r * count + t] = colours.gate[Math.round(trace.probabilities[t]![k]! * 255)]!;
    });
    raster.done();
    raster.draw(pen, left, MARGIN.top, w, h);
    rows.forEach((k, r) => {
      write(pen, short(trace.classes[k]!), left - 6, MARGIN.top + ((r + 0.5) / rows.length) * h, r ? colours.quiet : colours.ink, 11, "right", r ? 400 : 650);
    });
  } else {
    pen.lineWidth = 1;
    pen.strokeStyle = colours.line;
    for (const p of [0, 0.5, 1]) {
      pen.beginPath();
      pen.moveTo(left, Math.round(y(p)) + 0.5);
      pen.lineTo(left + w, Math.round(y(p)) + 0.5);
      pen.stroke();
      write(pen, `${100 * p} %`, left - 6, y(p), colours.quiet, 11, "right");
    }
    const line = (from: Trace, k: number): void => {
      pen.beginPath();
      if (count === 1) pen.arc(x(0), y(from.probabilities[0]![k]!), 3, 0, 7);
      from.probabilities.forEach((row, t) => pen.lineTo(x(t), y(row[k]!)));
      pen.stroke();
    };
    // Draw the least important first, so that they lie below.
    [...order].reverse().forEach((k) => {
      const rank = order.indexOf(k);
      pen.strokeStyle = colours.series[rank] ?? colours.quiet;
      pen.globalAlpha = rank < 4 ? 1 : 0.35;
      pen.lineWidth = rank === 0 ? 2.5 : rank < 4 ? 1.6 : 1;
      pen.setLineDash([]);
      line(trace, k);
      if (before && rank < 4) {
        pen.globalAlpha = 0.7;
        pen.lineWidth = 1.2;
        pen.setLineDash([3, 3]);
        line(before, k);
      }
    });
    pen.globalAlpha = 1;
    pen.setLineDash([]);
    const placed: [number, number][] = [];
    order.slice(0, 4).forEach((k, rank) => {
      const values = trace.probabilities.map((row) => row[k]!);
      const peak = Math.max(...values);
      if (peak < 0.12) return;
      const at = rank ? values.indexOf(peak) : count - 1;
      const end = at === count - 1;
      let level = Math.min(Math.max(y(values[at]!) - (end ? 0 : 9), 6), MARGIN.top + h);
      while (placed.some(([px, py]) => Math.abs(px - x(at)) < 14 && Math.abs(py - level) < 13)) level -= 13;
      placed.push([x(at), level]);
      write(pen, short(trace.classes[k]!), end ? left + w + 4 : x(at), level, colours.series[rank]!, 13, end ? "left" : "center", 650);
    });
  }
  marks(pen, trace, x, MARGIN.top + h, left, w, unit, colours);
  if (step !== null) {
    pen.fillStyle = colours.accent;
    pen.fillRect(x(step - 1) - 1, MARGIN.top - 4, 2, h + 8);
  }
}

/** Below the axis: the first and the last step, where the final class was first predicted, and from where on it stayed. */
function marks(
  pen: Pen,
  trace: Trace,
  x: (t: number) => number,
  base: number,
  left: number,
  width: number,
  unit: string,
  colours: Theme,
): void {
  const { settled, first_reached: first } = trace;
  const count = trace.probabilities.length;
  for (const at of new Set([first, settled])) {
    pen.fillStyle = at === settled ? colours.ink : colours.quiet;
    pen.beginPath();
    pen.moveTo(x(at - 1), base + 2);
    pen.lineTo(x(at - 1) - 5, base + 10);
    pen.lineTo(x(at - 1) + 5, base + 10);
    pen.fill();
  }
  const words = first === settled ? `first and final: ${unit} ${settled}` : `first: ${unit} ${first} · final: ${unit} ${settled}`;
  const middle = Math.min(Math.max(x(settled - 1), left + 95), left + width - 75);
  write(pen, words, middle, base + 22, colours.ink, 11, "center");
  const ends: [number, CanvasTextAlign][] = [[1, "left"], [count, "right"]];
  for (const [at, align] of ends) {
    const place = at === 1 ? left : left + width;
    if (Math.abs(place - middle) > 115 && count > 1) write(pen, String(at), place, base + 22, colours.quiet, 11, align);
  }
}
