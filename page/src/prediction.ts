// The prediction, and a sentence about how it developed over the steps.
import { announce, get, make, text } from "./dom";
import { model, panel, shown, state } from "./state";
import type { Result, Trace } from "./types";
import { className, percent, plural } from "./format";

interface Run {
  label: number;
  from: number;
  to: number;
}

/** Returns the predicted classes as runs of steps. */
function runsOf(trace: Trace): Run[] {
  const all: Run[] = [];
  trace.probabilities.forEach((row, at) => {
    const label = row.indexOf(Math.max(...row));
    const last = all[all.length - 1];
    if (last?.label === label) last.to = at + 1;
    else all.push({ label, from: at + 1, to: at + 1 });
  });
  return all;
}

/** For example "Predicted 3 up to row 17, then 7." */
export function summary(trace: Trace, unit: string): string {
  const { settled, first_reached: first, changes } = trace;
  const label = className(model(), trace.label);
  const count = trace.probabilities.length;
  if (settled === 1) return count === 1 ? "" : `Predicted ${label} from the first ${unit} on.`;
  const all = runsOf(trace);
  const name = (run: Run): string => className(model(), trace.classes[run.label]!);
  const end = settled === count ? `${label} only at the last ${unit}, ${settled}.` : `${label} from ${unit} ${settled} on.`;
  if (all.length <= 4) {
    const before = all.slice(0, -1).map((each) => `${name(each)} up to ${unit} ${each.to}`);
    return `Predicted ${before.join(", ")}; ${end}`;
  }
  // Too many to list with their steps: the classes in their order, then where the last of them ended.
  const last = all[all.length - 2]!;
  const names = [...new Set(all.slice(0, -1).map(name))].join(", ");
  const range = last.from === last.to ? `at ${unit} ${last.to}` : `from ${unit} ${last.from} to ${last.to}`;
  const reached = first < settled ? `${label} first at ${unit} ${first}; ` : "";
  return `The prediction changed ${changes} times (${names}): ${reached}${name(last)} ${range}, then ${end}`;
}

function comparison(plain: Result, altered: Result): string {
  const [a, b] = [plain.prediction, altered.prediction];
  const without = `Without the what-ifs: ${className(model(), a.label)}, ${percent(a.probability)}.`;
  return a.label === b.label ? `The predicted class stays the same. ${without}` : `The predicted class changes. ${without}`;
}

export function startPrediction(): void {
  const { input } = model();
  const result = get("prediction");
  panel(["prediction"], () => {
    const now = shown();
    if (!now) {
      result.replaceChildren(make("span", { class: "none" }, "–"));
      const invitation = input.kind === "text" ? "Write a text or choose a test example." : input.kind === "picture" ? (input.channels === 1 ? "Draw a character or choose a test example." : "Choose an image.") : "Paste a table or choose a test example.";
      text(get("summary"), invitation);
      text(get("truth"), "");
      delete result.dataset.label;
      return;
    }
    const { probability, trace } = now.prediction;
    const label = className(model(), now.prediction.label);
    result.dataset.label = label;
    result.dataset.probability = String(probability);
    const parts: (Node | string)[] = [make("strong", {}, label), " ", make("small", {}, percent(probability))];
    if (state.altered && state.plain && state.plain.prediction.label !== now.prediction.label) {
      // Read out after the new class, shown before it.
      parts.push(make("span", { class: "hidden-text" }, ", previously "), make("s", {}, className(model(), state.plain.prediction.label)));
    }
    result.replaceChildren(...parts);
    result.classList.toggle("long", label.length > 6);
    text(get("summary"), summary(trace, input.unit));
    const { truth, title, example } = now.input;
    const correct = state.plain?.prediction.label === truth ? "correct" : "wrong";
    const known = truth === undefined ? "" : `True class: ${className(model(), truth)}; the prediction is ${correct}.`;
    text(get("truth"), [known, example ? "This is an example; draw to replace it." : ""].filter(Boolean).join(" "));
    const { unknown } = now.prediction;
    const missing = unknown ? `The model does not know ${unknown === 1 ? "one of them" : `${unknown} of them`}.` : "";
    const shownSteps = trace.probabilities.length;
    const counted = unknown ? `${shownSteps} ${shownSteps === 1 ? input.unit : plural(input.unit)}. ${missing}` : "";
    if (input.kind !== "picture" || input.channels !== 1) text(get("truth"), [known, counted].filter(Boolean).join(" "));
    const what = state.altered ? "what-if-summary" : "";
    text(
      get("what-if-summary"),
      what && state.plain && state.altered
        ? comparison(state.plain, state.altered)
        : "Change the network or its input and see how the prediction changes.",
    );
    announce(`${title}: ${label}, ${percent(probability)}. ${summary(trace, input.unit)}`);
    document.title = `${label} · ${model().name} · Scanline`;
  });
}
