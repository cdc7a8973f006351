// The network input.
import { pane } from "./canvas";
import { get, text } from "./dom";
import { drawPicture, drawSteps } from "./inputplot";
import { goTo } from "./player";
import { model, panel, shown, state, steps, stepsRead } from "./state";
import { theme } from "./theme";
import type { Picture, Steps } from "./types";
import { plural, runs } from "./format";

export function startInputView(): void {
  const input = model().input;
  if (input.kind === "text") return; // see tokens.ts
  const canvas = get<HTMLCanvasElement>("seen");
  const view = pane(canvas);
  get("seen-frame").dataset.kind = input.kind === "picture" ? (input.unit === "row" && model().network ? "rows" : "picture") : "lines";
  if (input.kind === "picture") canvas.style.aspectRatio = `${input.width} / ${input.height}`;

  const stepAt = (event: PointerEvent): number => {
    const box = canvas.getBoundingClientRect();
    const fraction = (at: number, start: number, size: number): number =>
      Math.min(0.9999, Math.max(0, (at - start) / size));
    const x = fraction(event.clientX, box.left, box.width);
    const y = fraction(event.clientY, box.top, box.height);
    if (input.kind === "sequence") return Math.floor(x * steps()) + 1;
    return input.step_of_pixel[Math.floor(y * input.height)]![Math.floor(x * input.width)]!;
  };
  if (model().network) {
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      goTo(stepAt(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) goTo(stepAt(event));
    });
  }

  panel(["prediction", "step", "theme", "size", "what-if"], () => {
    const pen = view.begin();
    const result = shown();
    if (!result) {
      pen.fillStyle = input.kind === "picture" ? "#000" : theme.block;
      pen.fillRect(0, 0, view.width, view.height);
      canvas.setAttribute("aria-label", "No input yet");
      text(get("seen-caption"), "Network input");
      return;
    }
    const { seen } = result.prediction;
    const blank = result.request.what_if?.blank ?? [];
    if (input.kind === "picture") drawPicture(pen, view.width, view.height, seen as Picture, input, stepsRead(), blank);
    else drawSteps(pen, view.width, view.height, seen as Steps, stepsRead(), blank, input.names ?? null, theme);
    const read = model().network ? `, ${state.step} of ${steps()} ${plural(input.unit)} read` : "";
    const left = blank.length ? `; ${plural(input.unit)} ${runs(blank)} blank` : "";
    canvas.setAttribute(
      "aria-label",
      `Network input: ${result.input.title}${read}${left}`,
    );
    text(get("seen-caption"), `Network input: ${result.input.title}`);
  });
}
