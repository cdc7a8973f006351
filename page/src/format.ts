// Formats numbers and names.
import type { LayerTrace, Label, Model, Network, WhatIf, Clamp, Silence } from "./types";

/** The network of a model that is not an ensemble. */
export function networkOf(model: Model): Network {
  if (!model.network) throw new Error("an ensemble has several networks");
  return model.network;
}

/** For example "one layer of 64 LSTM units, bidirectional". */
export function describeNetwork(network: Network): string {
  const layers = network.layers === 1 ? "one layer" : `${network.layers} layers`;
  const cell = network.cell === "rnn" ? "plain RNN" : network.cell.toUpperCase();
  return `${layers} of ${count(network.hidden_size)} ${cell} units${network.bidirectional ? ", bidirectional" : ""}`;
}

/** For example "forget gate f". */
export function partName(model: Model, part: string): string {
  const title = networkOf(model).titles[part];
  return title ? `${title} ${part}` : part;
}

/** A class as the server writes it, such as 1.0 or True; a predicted number as it is. */
export function className(model: Model, label: Label): string {
  const index = model.classes.indexOf(label);
  return model.class_names[index] ?? String(label);
}

/** Whether values are 0 to 1; all others are around 0. */
export const isGate = (model: Model, part: string): boolean => networkOf(model).gates.includes(part);

/** Formats a probability; never rounded to 0 or 100 %. The spaces do not break. */
export function percent(probability: number): string {
  if (probability > 0.9999 && probability < 1) return ">\u00a099.99\u00a0%";
  if (probability < 0.0001 && probability > 0) return "<\u00a00.01\u00a0%";
  return `${(100 * probability).toFixed(2)}\u00a0%`;
}

export const count = (number: number): string => number.toLocaleString("en");

export const plural = (unit: string): string => (unit === "patch" ? "patches" : `${unit}s`);

export const capital = (words: string): string => words.charAt(0).toUpperCase() + words.slice(1);

/** A value of a gate or a state. A true minus sign has the width of a digit. */
export const signed = (value: number): string => value.toFixed(3).replace("-", "−");

export function layerName(model: Model, layer: Pick<LayerTrace, "layer" | "direction">): string {
  const { layers, bidirectional } = networkOf(model);
  const words = [layers > 1 ? `layer ${layer.layer}` : "", bidirectional ? layer.direction : ""];
  return words.filter(Boolean).join(", ") || "layer 1";
}

/** ", layer 2, backward": empty if there is only one place. */
export function place(model: Model, at: Clamp | Silence): string {
  const words: string[] = [];
  if (at.layer !== undefined && networkOf(model).layers > 1) words.push(`layer ${at.layer}`);
  if (at.direction !== undefined && networkOf(model).bidirectional) words.push(at.direction);
  return words.length ? `, ${words.join(", ")}` : "";
}

/** 3, 4, 5, 9 as "3 to 5, 9". */
export function runs(numbers: number[]): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  const found: [number, number][] = [];
  for (const each of sorted) {
    const last = found[found.length - 1];
    if (last && each === last[1] + 1) last[1] = each;
    else found.push([each, each]);
  }
  return found.map(([low, high]) => (low === high ? `${low}` : `${low} to ${high}`)).join(", ");
}

export const isEmpty = (whatIf: WhatIf): boolean =>
  !(whatIf.blank.length || whatIf.clamp.length || whatIf.silence.length);
