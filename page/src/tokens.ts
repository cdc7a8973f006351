// The text as the network read it: its tokens, marked by attribution, as far as the current step.
import { write } from "./canvas";
import type { Pen } from "./canvas";
import { get, make, text } from "./dom";
import { goTo } from "./player";
import { model, panel, shown, state, stepsRead } from "./state";
import type { Theme } from "./theme";
import type { Result, TextInput, Tokens } from "./types";
import { className, plural, runs } from "./format";

const STRONGEST = 45; // percent of the colour of the token with the largest attribution

/** Returns a text, or its tokens joined; characters have no blanks between them. */
export const joined = (values: string | Tokens, tokens: string): string =>
  typeof values === "string" ? values : values.join(tokens === "characters" ? "" : " ");

/** The tokens that were read; of an ensemble the text as one. */
export function tokensOf(result: Result): Tokens {
  const { seen } = result.prediction;
  return typeof seen === "string" ? [seen] : (seen as Tokens);
}

/** Returns the attribution of each token from -1 to 1; 1 is the largest magnitude. */
function shares(values: number[][] | null, count: number): number[] {
  const sums = (values ?? []).map((row) => row.reduce((sum, value) => sum + value, 0));
  const largest = Math.max(...sums.map(Math.abs), 1e-9);
  return Array.from({ length: count }, (_, at) => (sums[at] ?? 0) / largest);
}

export function startTokens(form: TextInput): void {
  const box = get("tokens");
  get("seen").hidden = true;
  get("seen-frame").dataset.kind = "text";
  box.hidden = false;
  box.dataset.tokens = form.tokens;
  box.addEventListener("click", (event) => {
    const step = Number((event.target as HTMLElement).dataset.step);
    if (step && model().network) goTo(step);
  });
  box.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !model().network) return;
    event.preventDefault();
    goTo(state.step + by);
  });

  panel(["prediction", "step", "what-if"], (changes) => {
    const result = shown();
    if (!result) {
      box.replaceChildren();
      text(get("seen-caption"), "The text as it is read");
      return;
    }
    if (changes.has("prediction")) fill(box, result, form.tokens);
    const read = stepsRead();
    [...box.children].forEach((token, at) => {
      token.classList.toggle("later", at >= read);
      token.classList.toggle("now", at + 1 === read && read < box.children.length);
    });
    text(get("seen-caption"), caption(result, form));
  });
}

function fill(box: HTMLElement, result: Result, tokens: string): void {
  const read = tokensOf(result);
  const parts = shares(result.prediction.attribution?.values ?? null, read.length);
  const spans = read.flatMap((token, at) => {
    const span = make("span", { "data-step": at + 1 }, token);
    const share = parts[at]!;
    const colour = share < 0 ? "var(--warm)" : "var(--accent)";
    span.style.backgroundColor = `color-mix(in srgb, ${colour} ${Math.round(Math.abs(share) * STRONGEST)}%, transparent)`;
    return tokens === "characters" ? [span] : [span, " "];
  });
  box.replaceChildren(...spans);
}

function caption(result: Result, form: TextInput): string {
  const { attribution } = result.prediction;
  const blank = result.request.what_if?.blank ?? [];
  const left = blank.length ? ` ${plural(form.unit)} ${runs(blank)} are blank.` : "";
  if (!attribution) return `The text as it was read.${left}`;
  const name = className(model(), attribution.of);
  return `Blue ${plural(form.unit)} raise the score of ${name}, orange ones lower it (integrated gradients).${left}`;
}

/** Draws the tokens on a canvas of a width and a height, as many as fit. */
export function drawTokens(
  pen: Pen,
  width: number,
  height: number,
  tokens: Tokens,
  attribution: number[][] | null,
  kind: string,
  colours: Theme,
): void {
  const parts = shares(attribution, tokens.length);
  const [size, line, gap] = [15, 26, kind === "characters" ? 0 : 7];
  let [x, y] = [0, line / 2];
  pen.font = `${size}px system-ui, sans-serif`;
  for (const [at, token] of tokens.entries()) {
    const wide = pen.measureText(token).width + 4;
    if (x + wide > width) [x, y] = [0, y + line];
    if (y > height - size) return;
    const share = parts[at]!;
    pen.globalAlpha = (Math.abs(share) * STRONGEST) / 100;
    pen.fillStyle = colours.series[share < 0 ? 1 : 0]!;
    pen.fillRect(x, y - line / 2 + 3, wide, line - 6);
    pen.globalAlpha = 1;
    write(pen, token, x + 2, y, colours.ink, size);
    x += wide + gap;
  }
}
