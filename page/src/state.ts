// What the page knows, and the one frame in which everything that changed is painted.
import type { Answer, Input, LayerTrace, Model, Trace, WhatIf } from "./types";
import { isNothing } from "./words";

export type Topic = "input" | "answer" | "step" | "unit" | "hover" | "view" | "what-if" | "theme" | "size";

export const nothing = (): WhatIf => ({ blank: [], clamp: [], silence: [] });

export const state = {
  known: null as Model | null,
  input: null as Input | null,
  whatIf: nothing(),
  /** Without what-ifs, with them, and without them for the input before this one. */
  plain: null as Answer | null,
  altered: null as Answer | null,
  previous: null as Answer | null,
  /** The step that the reading stands at, counted from 1. */
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

/** The answer that is shown: with the what-ifs, if there are any. */
export const shown = (): Answer | null => state.altered ?? state.plain;

export const trace = (): Trace | null => shown()?.prediction.trace ?? null;

export const steps = (): number => trace()?.probabilities.length ?? 1;

export const layerOf = (answer: Answer | null): LayerTrace | null =>
  answer?.prediction.trace.layers[state.layer] ?? null;

/** One part of the chosen layer, (T, H). */
export const partOf = (answer: Answer | null, part: string): number[][] =>
  (layerOf(answer)?.[part] as number[][] | undefined) ?? [];

export const altering = (): boolean => !isNothing(state.whatIf);

interface Panel {
  topics: Topic[];
  paint: (changes: Set<Topic>) => void;
}

const panels: Panel[] = [];
let dirty = new Set<Topic>();
let afterwards: (() => void)[] = [];
let frame = 0;

/** `paint` runs in the next frame after any of `topics` changed; in the order of registration. */
export function panel(topics: Topic[], paint: (changes: Set<Topic>) => void): void {
  panels.push({ topics, paint });
}

export function changed(...topics: Topic[]): void {
  for (const topic of topics) dirty.add(topic);
  frame ||= requestAnimationFrame(paint);
}

/** `then` runs when the frame with all that has changed is painted. */
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
