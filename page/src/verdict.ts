// The answer, and in words how it came about.
import { announce, get, make, text } from "./dom";
import { model, panel, shown, state } from "./state";
import type { Answer, Trace } from "./types";
import { percent } from "./words";

interface Segment {
  answer: number;
  to: number;
}

/** What it would have answered, in stretches of steps. */
function stretches(trace: Trace): Segment[] {
  const found: Segment[] = [];
  trace.probabilities.forEach((row, at) => {
    const answer = row.indexOf(Math.max(...row));
    const last = found[found.length - 1];
    if (last?.answer === answer) last.to = at + 1;
    else found.push({ answer, to: at + 1 });
  });
  return found;
}

/** "Would have answered 3 until row 17; 7 for good from row 18." */
export function course(trace: Trace, unit: string): string {
  const { label, settled, first_reached: first, changes } = trace;
  const count = trace.probabilities.length;
  if (settled === 1) return count === 1 ? "" : `It would have answered ${label} from the first ${unit} on.`;
  const found = stretches(trace);
  const name = (segment: Segment): string => String(trace.classes[segment.answer]);
  const end = `${label} ${settled === count ? "only at" : "for good from"} ${unit} ${settled}${settled === count ? ", the last" : ""}.`;
  if (found.length <= 4) {
    const before = found.slice(0, -1).map((each) => `${name(each)} until ${unit} ${each.to}`);
    return `It would have answered ${before.join(", ")}; ${end}`;
  }
  const last = found[found.length - 2]!;
  const reached = first < settled ? `It first leant to ${label} at ${unit} ${first} and changed its mind ${changes} times. ` : "";
  return `${reached}It would have answered ${name(last)} until ${unit} ${last.to}; ${end}`;
}

function before(plain: Answer, altered: Answer): string {
  const [a, b] = [plain.prediction, altered.prediction];
  const then = `Without the what-ifs: ${a.label}, ${percent(a.probability)}.`;
  return a.label === b.label ? `The answer stays. ${then}` : `The answer changes. ${then}`;
}

export function startVerdict(): void {
  const { input } = model();
  const answer = get("answer");
  panel(["answer"], () => {
    const now = shown();
    if (!now) {
      answer.replaceChildren(make("span", { class: "none" }, "–"));
      const invitation = input.kind === "picture" ? (input.channels === 1 ? "Draw something, or choose from the test data." : "Choose a picture.") : "Paste a table, or choose from the test data.";
      text(get("told"), invitation);
      text(get("truth"), "");
      delete answer.dataset.label;
      return;
    }
    const { label, probability, trace } = now.prediction;
    answer.dataset.label = String(label);
    answer.dataset.probability = String(probability);
    const parts: (Node | string)[] = [make("strong", {}, String(label)), " ", make("small", {}, percent(probability))];
    if (state.altered && state.plain && state.plain.prediction.label !== label) {
      // Told after the answer, shown before it.
      parts.push(make("span", { class: "hidden-text" }, ", before "), make("s", {}, String(state.plain.prediction.label)));
    }
    answer.replaceChildren(...parts);
    answer.classList.toggle("long", String(label).length > 6);
    text(get("told"), course(trace, input.unit));
    const { truth, title, example } = now.input;
    const verdict = state.plain?.prediction.label === truth ? "right" : "not what it answers";
    const known = truth === undefined ? "" : `The test data call it ${truth}: ${verdict}.`;
    text(get("truth"), [known, example ? "An example; draw, and it makes way." : ""].filter(Boolean).join(" "));
    if (input.kind !== "picture" || input.channels !== 1) text(get("truth"), known);
    const what = state.altered ? "what-if-told" : "";
    text(
      get("what-if-told"),
      what && state.plain && state.altered
        ? before(state.plain, state.altered)
        : "Change what happens inside, and see what the answer rests on.",
    );
    announce(`${title}: ${label}, ${percent(probability)}. ${course(trace, input.unit)}`);
    document.title = `${label} · ${model().name} · Scanline`;
  });
}
