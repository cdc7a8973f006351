// Draws the gates and states of one unit over the steps.
import { write } from "./canvas";
import type { Pen } from "./canvas";
import { wholeScale } from "./heat";
import { partOf, shown, state, steps } from "./state";
import type { Theme } from "./theme";
import type { Model } from "./types";
import { isGate, networkOf } from "./format";

const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
export const LEFT = 34;
export const RIGHT = 20;

/** Gates above, states below, each with its own scale. dashed: the same without the what-ifs. */
export function drawUnit(pen: Pen, width: number, height: number, given: Model, unit: number, colours: Theme): void {
  const { parts } = networkOf(given);
  const gates = parts.filter((part) => isGate(given, part));
  const groups = [gates, parts.filter((part) => !gates.includes(part))].filter((group) => group.length);
  const tall = (height - 4) / groups.length;
  const x = (t: number): number => LEFT + ((t + 0.5) / steps()) * (width - LEFT - RIGHT);
  groups.forEach((group, place) => {
    const isGates = group === gates;
    const top = place * tall + 8;
    const room = tall - 18;
    const largest = Math.max(...group.map((part) => wholeScale([shown(), state.plain].flatMap((result) => partOf(result, part).map((row) => row[unit] ?? 0)))));
    const [low, high] = isGates ? [0, 1] : [-largest, largest];
    const y = (value: number): number => top + room * (1 - (value - low) / (high - low));
    pen.lineWidth = 1;
    for (const level of isGates ? [0, 1] : [low, 0, high]) {
      pen.strokeStyle = colours.line;
      pen.beginPath();
      pen.moveTo(LEFT, Math.round(y(level)) + 0.5);
      pen.lineTo(width - RIGHT, Math.round(y(level)) + 0.5);
      pen.stroke();
      write(pen, String(level).replace("-", "−"), LEFT - 6, y(level), colours.quiet, 11, "right");
    }
    for (const [result, alpha] of [[state.altered ? state.plain : null, 0.35], [shown(), 1]] as const) {
      if (!result) continue;
      group.forEach((part, at) => {
        const values = partOf(result, part);
        pen.beginPath();
        values.forEach((row, t) => pen.lineTo(x(t), y(row[unit] ?? 0)));
        if (values.length === 1) pen.arc(x(0), y(values[0]![unit] ?? 0), 3, 0, 7);
        pen.strokeStyle = colours.series[at % 4]!;
        pen.globalAlpha = alpha;
        pen.setLineDash(DASHES[at % 4]!);
        pen.lineWidth = 1.8;
        pen.stroke();
      });
    }
    pen.globalAlpha = 1;
    pen.setLineDash([]);
    const ends = group.map((part, at) => ({ part, at, end: y(partOf(shown(), part)[steps() - 1]?.[unit] ?? 0) })).sort((a, b) => a.end - b.end);
    let above = -Infinity;
    for (const { part, at, end } of ends) {
      above = Math.max(end, above + 13); // names stand beside the ends of their lines without overlapping
      write(pen, part, width - RIGHT + 7, above, colours.series[at % 4]!, 13, "left", 650);
    }
  });
  pen.fillStyle = colours.accent;
  pen.fillRect(x(state.step - 1) - 1, 4, 2, height - 8);
}
