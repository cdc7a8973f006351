// Sends requests: at most one is in flight, and of several changes the latest is sent.
import { predict, RequestError } from "./api";
import { clearRequestError, showError } from "./errors";
import { afterPaint, hasWhatIf, changed, noWhatIf, state, steps } from "./state";
import type { Result, Input } from "./types";

let inFlight = false;
let wanted = false;
let changedAt = 0;
let retry = 0;
let predictions = 0;
let drawing = false;
let failed = false;

/** The input or the what-ifs have changed. at: when, by `performance.now()`; an event's timeStamp is on that clock. */
export function requestPrediction(at = performance.now()): void {
  changedAt = at;
  wanted = true;
  clearTimeout(retry);
  void pump();
}

/** During a stroke, problems are not shown: two dots are not a digit yet. */
export function setDrawing(is: boolean): void {
  if (drawing && !is && failed) requestPrediction();
  drawing = is;
}

async function pump(): Promise<void> {
  if (inFlight) return;
  inFlight = true;
  while (wanted) {
    wanted = false;
    await once(changedAt);
  }
  inFlight = false;
}

async function once(at: number): Promise<void> {
  const { input, whatIf } = state;
  if (!input) {
    state.plain = state.altered = null;
    document.body.dataset.state = "empty";
    clearRequestError();
    changed("prediction", "step");
    return;
  }
  document.body.dataset.state = "busy";
  try {
    const plain = state.plain?.input === input ? state.plain : await predict(input, noWhatIf());
    if (input.values === null) settle(input, plain);
    const altered = hasWhatIf() ? await predict(plain.input, whatIf) : null;
    show(plain, altered, at);
  } catch (error) {
    // A file that cannot be read is dropped: the input before it stays.
    if (!input.values && state.input === input) state.input = state.plain?.input ?? null;
    fail(error, at);
  }
}

/** Replaces a file by the values that the server read, unless another input was chosen meanwhile. */
function settle(input: Input, plain: Result): void {
  if (state.input === input) {
    state.input = plain.input;
    changed("input");
  }
}

function show(plain: Result, altered: Result | null, at: number): void {
  const before = steps();
  const atEnd = state.step >= before || !state.plain;
  if (state.plain && state.plain.input !== plain.input) state.previous = state.plain;
  state.plain = plain;
  state.altered = altered;
  const now = steps();
  if (atEnd || state.step > now) state.step = now;
  failed = false;
  clearRequestError();
  changed("prediction", "step");
  afterPaint(() => {
    performance.measure("scanline:redraw", { start: at, end: performance.now() });
    document.body.dataset.predictions = String(++predictions);
    document.body.dataset.state = inFlight || wanted ? "busy" : "ready";
  });
}

function fail(error: unknown, at: number): void {
  failed = true;
  document.body.dataset.state = "failed";
  if (!(error instanceof RequestError)) throw error;
  if (wanted || (drawing && error.status === 422)) return;
  showError(error, () => requestPrediction());
  if (error.retryAfter !== null) retry = window.setTimeout(() => requestPrediction(at), 1000 * error.retryAfter);
}
