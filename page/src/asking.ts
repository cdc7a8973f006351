// Asks for answers: at most one request is under way, and of several changes the latest is asked for.
import { predict, Trouble } from "./api";
import { clearAsking, tellProblem } from "./problem";
import { afterPaint, altering, changed, nothing, state, steps } from "./state";
import type { Answer, Input } from "./types";

let underway = false;
let wanted = false;
let changedAt = 0;
let retry = 0;
let answers = 0;
let drawing = false;
let failed = false;

/** The input or the what-ifs have changed. at: when, by `performance.now()`; an event's timeStamp is on that clock. */
export function ask(at = performance.now()): void {
  changedAt = at;
  wanted = true;
  clearTimeout(retry);
  void pump();
}

/** While a stroke goes on, a problem is no news: two dots are not yet a digit. */
export function setDrawing(is: boolean): void {
  if (drawing && !is && failed) ask();
  drawing = is;
}

async function pump(): Promise<void> {
  if (underway) return;
  underway = true;
  while (wanted) {
    wanted = false;
    await once(changedAt);
  }
  underway = false;
}

async function once(at: number): Promise<void> {
  const { input, whatIf } = state;
  if (!input) {
    state.plain = state.altered = null;
    document.body.dataset.state = "empty";
    clearAsking();
    changed("answer", "step");
    return;
  }
  document.body.dataset.state = "busy";
  try {
    const plain = state.plain?.input === input ? state.plain : await predict(input, nothing());
    if (input.values === null) settle(input, plain);
    const altered = altering() ? await predict(plain.input, whatIf) : null;
    show(plain, altered, at);
  } catch (error) {
    // A file that cannot be read is not kept: what was read before it is what stands there.
    if (!input.values && state.input === input) state.input = state.plain?.input ?? null;
    fail(error, at);
  }
}

/** A file has become values, unless something else has been chosen meanwhile. */
function settle(input: Input, plain: Answer): void {
  if (state.input === input) {
    state.input = plain.input;
    changed("input");
  }
}

function show(plain: Answer, altered: Answer | null, at: number): void {
  const before = steps();
  const atEnd = state.step >= before || !state.plain;
  if (state.plain && state.plain.input !== plain.input) state.previous = state.plain;
  state.plain = plain;
  state.altered = altered;
  const now = steps();
  if (atEnd || state.step > now) state.step = now;
  failed = false;
  clearAsking();
  changed("answer", "step");
  afterPaint(() => {
    performance.measure("scanline:redraw", { start: at, end: performance.now() });
    document.body.dataset.answers = String(++answers);
    document.body.dataset.state = underway || wanted ? "busy" : "ready";
  });
}

function fail(error: unknown, at: number): void {
  failed = true;
  document.body.dataset.state = "failed";
  if (!(error instanceof Trouble)) throw error;
  if (wanted || (drawing && error.status === 422)) return;
  tellProblem(error, () => ask());
  if (error.retryAfter !== null) retry = window.setTimeout(() => ask(at), 1000 * error.retryAfter);
}
