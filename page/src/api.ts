// Requests to the server. URLs are relative, so that the page works behind any path prefix.
import type { Result, GalleryItem, Input, Model, PredictRequest, Prediction, Predictions, Values, WhatIf } from "./types";
import { isEmpty } from "./format";
import { model } from "./state";

const TOKEN = "scanline-token";

/** A request that failed. retryAfter: seconds after which to try again, where that may help. */
export class RequestError extends Error {
  constructor(
    message: string,
    readonly status = 0,
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

export function keepToken(token: string): void {
  sessionStorage.setItem(TOKEN, token);
}

export const hasToken = (): boolean => sessionStorage.getItem(TOKEN) !== null;

export const getModel = (): Promise<Model> => call("v1/model") as Promise<Model>;

export const getGallery = async (): Promise<{ data: string; items: GalleryItem[] }> =>
  (await call("v1/gallery")) as { data: string; items: GalleryItem[] };

export function requestFor(values: Values, fit: boolean, whatIf: WhatIf): PredictRequest {
  const request: PredictRequest = { inputs: [values] };
  if (model().network) request.trace = true;
  if (model().network && model().input.kind === "text") request.attribution = true;
  if (fit) request.fit = true;
  if (!isEmpty(whatIf)) request.what_if = whatIf;
  return request;
}

/** Returns the prediction for `input` under `whatIf`. A file is sent as it is, without what-ifs. */
export async function predict(input: Input, whatIf: WhatIf): Promise<Result> {
  if (!input.values) {
    const { content, type } = input.file ?? { content: new Blob(), type: "" };
    const response = await post(model().network ? "v1/predict?trace=true" : "v1/predict", content, type);
    const prediction = complete(response.predictions[0]!, null);
    const read: Input = { ...input, values: prediction.seen, fit: false, file: undefined };
    // Sending what the server returned as its input gives the same prediction, bit for bit.
    return { input: read, request: requestFor(prediction.seen, false, whatIf), response, prediction };
  }
  const request = requestFor(input.values, input.fit, whatIf);
  const response = await post("v1/predict", JSON.stringify(request), "application/json");
  return { input, request, response, prediction: complete(response.predictions[0]!, input.values) };
}

/** Adds what the server leaves out for an ensemble: the input, and the probabilities as a trace of one step. */
function complete(prediction: Prediction, values: Values | null): Prediction {
  if (prediction.trace) return prediction;
  const { label, probability, probabilities } = prediction;
  const { classes, class_names: names } = model();
  const row = names.map((name) => probabilities[name] ?? 0);
  const trace = { label, probability, first_reached: 1, settled: 1, changes: 0, classes, probabilities: [row], layers: [] };
  return { ...prediction, seen: prediction.seen ?? values ?? [], trace };
}

async function post(path: string, body: BodyInit, type: string): Promise<Predictions> {
  return (await call(path, { method: "POST", body, headers: { "content-type": type } })) as Predictions;
}

async function call(path: string, given: RequestInit = {}): Promise<unknown> {
  const headers = new Headers(given.headers);
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.set("authorization", `Bearer ${token}`);
  let response: Response;
  try {
    response = await fetch(path, { ...given, headers });
  } catch {
    throw new RequestError("The server does not respond: it has stopped, or the network is down.");
  }
  if (!response.ok) throw await requestError(response);
  try {
    return await response.json();
  } catch {
    throw new RequestError("The server's response was cut off, or is not JSON.");
  }
}

async function requestError(response: Response): Promise<RequestError> {
  let detail = "";
  try {
    const problem = (await response.json()) as { detail?: unknown; title?: unknown };
    detail = String(problem.detail ?? problem.title ?? "");
  } catch {
    // A proxy in between may respond with a page of its own.
  }
  const wait = Number.parseFloat(response.headers.get("retry-after") ?? "");
  const retryAfter = response.status === 503 ? (Number.isFinite(wait) ? Math.min(Math.max(wait, 0.2), 60) : 2) : null;
  return new RequestError(detail || `The server responded with status ${response.status}.`, response.status, retryAfter);
}
