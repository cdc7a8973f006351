// Requests and responses of the server, as described in docs/serving.md.

export type Label = number | string | boolean;
export type Direction = "forward" | "backward";
/** (height, width), or (height, width, 3) with colours. */
export type Picture = (number | number[])[][];
/** A number, or the name of a category; null is a missing value. */
export type Cell = number | string | null;
/** (T, F). */
export type Steps = Cell[][];
export type Tokens = string[];
/** A text is sent as it is, or as its tokens. */
export type Values = Picture | Steps | Tokens | string;

export interface PictureInput {
  kind: "picture";
  height: number;
  width: number;
  channels: number;
  levels: number;
  fit: string;
  view: string;
  unit: string;
  steps: number;
  features: number;
  step_of_pixel: number[][];
}

export interface SequenceInput {
  kind: "sequence";
  features: number;
  names?: string[] | null;
  missing: string;
  /** Features that are names of categories. */
  categorical: number[];
  unit: string;
}

export interface TextInput {
  kind: "text";
  tokens: string;
  lower_case: boolean;
  maximum_length: number;
  unit: string;
}

export interface Network {
  cell: string;
  layers: number;
  hidden_size: number;
  bidirectional: boolean;
  readout: string;
  parts: string[];
  titles: Record<string, string>;
  gates: string[];
  forget_gate: string | null;
  parameters: number;
}

export interface Model {
  name: string;
  model: string;
  version: string;
  trained_on: string;
  classes: Label[];
  /** The classes as text: a class 1.0 is the number 1 here. */
  class_names: string[];
  input: PictureInput | SequenceInput | TextInput;
  /** Null for an ensemble, which has no traces and what-ifs. */
  network: Network | null;
  /** The networks of an ensemble. */
  members: Network[];
  accuracy: { accuracy: number; ci95: [number, number]; n: number } | null;
  licence: string | null;
  calibrated: boolean;
  streams: boolean;
  streams_obstacle: string | null;
}

export interface LayerTrace {
  layer: number;
  direction: Direction;
  /** Each part (T, H). */
  [part: string]: number | string | number[][];
}

export interface Trace {
  label: Label;
  probability: number;
  first_reached: number;
  settled: number;
  changes: number;
  classes: Label[];
  probabilities: number[][];
  layers: LayerTrace[];
}

export interface Prediction {
  label: Label;
  probability: number;
  probabilities: Record<string, number>;
  seen: Values;
  trace: Trace;
  /** Categories or tokens that the model does not know. */
  unknown?: number;
  /** (T, F), of the predicted class. */
  attribution?: { of: Label; values: number[][]; sum: number; error: number };
}

export interface Predictions {
  schema: number;
  model: string;
  predictions: Prediction[];
}

export interface Clamp {
  gate: string;
  value: number;
  layer?: number;
  direction?: Direction;
}

export interface Silence {
  unit: number;
  layer?: number;
  direction?: Direction;
}

export interface WhatIf {
  blank: number[];
  clamp: Clamp[];
  silence: Silence[];
}

export interface PredictRequest {
  inputs: [Values];
  fit?: boolean;
  trace?: true;
  attribution?: true;
  what_if?: WhatIf;
}

export interface GalleryItem {
  index: number;
  true: Label;
  label: Label;
  probability: number;
  right: boolean;
  values: Values;
}

/** The current input. A file is replaced by values once the server has returned what it read. */
export interface Input {
  values: Values | null;
  file?: { content: Blob; type: string };
  fit: boolean;
  source: "board" | "gallery" | "file" | "paste" | "link" | "text";
  /** Where it comes from. */
  title: string;
  truth?: Label;
  /** Shown on loading: the first stroke on the board replaces it. */
  example?: boolean;
}

/** A prediction with the request that gave it. */
export interface Result {
  input: Input;
  request: PredictRequest;
  response: Predictions;
  prediction: Prediction;
}
