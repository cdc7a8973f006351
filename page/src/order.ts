// The order in which the units of a layer are shown. Sorts values from the server; computes no activations.
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

/** Mean absolute difference of one unit between two traces, up to the shorter length. */
function distance(now: number[][], then: number[][], unit: number): number {
  const count = Math.min(now.length, then.length);
  let sum = 0;
  for (let t = 0; t < count; t++) sum += Math.abs(now[t]![unit]! - then[t]![unit]!);
  return sum / Math.max(1, count);
}

/** Returns the units from top to bottom. */
export function ordered(units: number): number[] {
  const found = Array.from({ length: units }, (_, unit) => unit);
  const result = state.altered ?? state.plain;
  const now = partOf(result, state.part);
  if (!layerOf(result) || state.sort === "number" || !now.length) return found;
  let key: (unit: number) => number;
  if (state.sort === "mean") key = (unit) => -mean(now, unit);
  else if (state.sort === "peak") key = (unit) => peak(now, unit);
  else {
    const then = partOf(state.sort === "difference" ? state.plain : state.previous, state.part);
    key = (unit) => -distance(now, then, unit);
  }
  const keys = found.map(key);
  return found.sort((a, b) => keys[a]! - keys[b]! || a - b);
}
