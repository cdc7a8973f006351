// In which order the units of a layer are shown. This sorts what the server answered; it computes no activity.
import { layerOf, partOf, state } from "./state";

const mean = (values: number[][], unit: number): number =>
  values.reduce((sum, row) => sum + row[unit]!, 0) / Math.max(1, values.length);

function peak(values: number[][], unit: number): number {
  let best = 0;
  values.forEach((row, t) => {
    if (Math.abs(row[unit]!) > Math.abs(values[best]![unit]!)) best = t;
  });
  return best;
}

/** How far two readings lie apart in one unit; of unequal length as far as both go. */
function apart(now: number[][], then: number[][], unit: number): number {
  const count = Math.min(now.length, then.length);
  let sum = 0;
  for (let t = 0; t < count; t++) sum += Math.abs(now[t]![unit]! - then[t]![unit]!);
  return sum / Math.max(1, count);
}

/** Units from top to bottom. */
export function ordered(units: number): number[] {
  const found = Array.from({ length: units }, (_, unit) => unit);
  const answer = state.altered ?? state.plain;
  const now = partOf(answer, state.part);
  if (!layerOf(answer) || state.sort === "number" || !now.length) return found;
  let key: (unit: number) => number;
  if (state.sort === "mean") key = (unit) => -mean(now, unit);
  else if (state.sort === "peak") key = (unit) => peak(now, unit);
  else {
    const then = partOf(state.sort === "difference" ? state.plain : state.previous, state.part);
    key = (unit) => -apart(now, then, unit);
  }
  const keys = found.map(key);
  return found.sort((a, b) => keys[a]! - keys[b]! || a - b);
}
