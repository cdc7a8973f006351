// What the network reads, beside the board.
import { pane } from "./canvas";
import { get, text } from "./dom";
import { drawPicture, drawSteps } from "./plate";
import { goTo } from "./reading";
import { model, panel, shown, state, steps } from "./state";
import { theme } from "./theme";
import type { Picture, Steps } from "./types";
import { plural, runs } from "./words";

export function startSeen(): void {
  const input = model().input;
  const canvas = get<HTMLCanvasElement>("seen");
  const view = pane(canvas);
  get("seen-frame").dataset.kind = input.kind === "picture" ? (input.unit === "row" ? "rows" : "picture") : "lines";
  if (input.kind === "picture") canvas.style.aspectRatio = `${input.width} / ${input.height}`;

  const stepAt = (event: PointerEvent): number => {
    const box = canvas.getBoundingClientRect();
    const share = (at: number, start: number, size: number): number =>
      Math.min(0.9999, Math.max(0, (at - start) / size));
    const x = share(event.clientX, box.left, box.width);
    const y = share(event.clientY, box.top, box.height);
    if (input.kind === "sequence") return Math.floor(x * steps()) + 1;
    return input.step_of_pixel[Math.floor(y * input.height)]![Math.floor(x * input.width)]!;
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    goTo(stepAt(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) goTo(stepAt(event));
  });

  panel(["answer", "step", "theme", "size", "what-if"], () => {
    const pen = view.begin();
    const answer = shown();
    if (!answer) {
      pen.fillStyle = input.kind === "picture" ? "#000" : theme.block;
      pen.fillRect(0, 0, view.width, view.height);
      canvas.setAttribute("aria-label", "Nothing is read yet");
      text(get("seen-caption"), "What the network reads");
      return;
    }
    const { seen } = answer.prediction;
    const blank = answer.request.what_if?.blank ?? [];
    if (input.kind === "picture") drawPicture(pen, view.width, view.height, seen as Picture, input, state.step, blank);
    else drawSteps(pen, view.width, view.height, seen as Steps, state.step, blank, input.names ?? null, theme);
    const left = blank.length ? `; ${plural(input.unit)} ${runs(blank)} left blank` : "";
    canvas.setAttribute(
      "aria-label",
      `What the network reads: ${answer.input.title}, ${state.step} of ${steps()} ${plural(input.unit)} read${left}`,
    );
    text(get("seen-caption"), `What the network reads: ${answer.input.title}`);
  });
}
