// The state of the page, and the animation frame in which all changes are painted.
import type { Result, Input, LayerTrace, Model, Trace, WhatIf } from "./types";
import { isEmpty } from "./format";

export type Topic = "input" | "prediction" | "step" | "unit" | "hover" | "view" | "what-if" | "theme" | "size";

export const noWhatIf = (): WhatIf => ({ blank: [], clamp: [], silence: [] });

export const state = {
  known: null as Model | null,
  input: null as Input | null,
  whatIf: noWhatIf(),
  /** Results: without what-ifs, with them, and without them for the previous input. */
  plain: null as Result | null,
  altered: null as Result | null,
  previous: null as Result | null,
  /** The current step, counted from 1. */
  step: 1,
  playing: false,
  /** Index into the layers of the trace. */
  layer: 0,
  unit: 0,
  hover: null as { part: string; unit: number; step: number } | null,
  sort: "number",
  part: "",
  difference: false,
};

export function model(): Model {
  if (!state.known) throw new Error("the model is not known yet");
  return state.known;
}

/** The result that is shown: with the what-ifs, if there are any. */
export const shown = (): Result | null => state.altered ?? state.plain;

export const trace = (): Trace | null => shown()?.prediction.trace ?? null;

export const steps = (): number => trace()?.probabilities.length ?? 1;

/** Steps that count as read when the input is drawn: up to the current one; for an ensemble all. */
export const stepsRead = (): number => {
  const { network, input } = model();
  if (network) return state.step;
  return input.kind === "picture" ? input.steps : Number.MAX_SAFE_INTEGER;
};

export const layerOf = (result: Result | null): LayerTrace | null =>
  result?.prediction.trace.layers[state.layer] ?? null;

/** One part of the chosen layer, (T, H). */
export const partOf = (result: Result | null, part: string): number[][] =>
  (layerOf(result)?.[part] as number[][] | undefined) ?? [];

export const hasWhatIf = (): boolean => !isEmpty(state.whatIf);

interface Panel {
  topics: Topic[];
  paint: (changes: Set<Topic>) => void;
}

const panels: Panel[] = [];
let dirty = new Set<Topic>();
let afterwards: (() => void)[] = [];
let frame = 0;

/** Runs `paint` in the next frame after any of `topics` changed, in order of registration. */
export function panel(topics: Topic[], paint: (changes: Set<Topic>) => void): void {
  panels.push({ topics, paint });
}

export function changed(...topics: Topic[]): void {
  for (const topic of topics) dirty.add(topic);
  frame ||= requestAnimationFrame(paint);
}

/** Runs `then` after the frame with all changes is painted. */
export function afterPaint(then: () => void): void {
  afterwards.push(then);
  frame ||= requestAnimationFrame(paint);
}

function paint(): void {
  frame = 0;
  const changes = dirty;
  const then = afterwards;
  dirty = new Set();
  afterwards = [];
  for (const each of panels) {
    if (each.topics.some((topic) => changes.has(topic))) each.paint(changes);
  }
  if (!then.length) return;
  // A message arrives after the browser has laid out and painted this frame.
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    channel.port1.close();
    for (const each of then) each();
  };
  channel.port2.postMessage(null);
}
