// The strip beside the network input: a cell per step, to blank the step or not.
import { hatch, pane } from "./canvas";
import { announce, get, text } from "./dom";
import { goTo } from "./player";
import { model, panel, state, steps } from "./state";
import { theme } from "./theme";
import { setBlank } from "./whatif";
import { capital, plural } from "./format";

export function startStrip(): void {
  const { input } = model();
  const upright = input.unit === "row";
  const strip = get("strip");
  const view = pane(get<HTMLCanvasElement>("strip-canvas"));
  strip.setAttribute("aria-orientation", upright ? "vertical" : "horizontal");
  strip.setAttribute("aria-label", `${capital(plural(input.unit))} to blank`);
  text(
    get("strip-help"),
    `Use the strip ${upright ? "beside" : "below"} the input to blank ${plural(input.unit)}: click or drag, or press arrow keys and Space.`,
  );

  const isBlank = (step: number): boolean => state.whatIf.blank.includes(step);
  const stepAt = (event: PointerEvent): number => {
    const box = strip.getBoundingClientRect();
    const fraction = upright ? (event.clientY - box.top) / box.height : (event.clientX - box.left) / box.width;
    return Math.min(steps(), Math.max(1, Math.floor(fraction * steps()) + 1));
  };

  let filling: boolean | null = null;
  let last = 0;
  strip.addEventListener("pointerdown", (event) => {
    if (!state.plain || event.button) return;
    strip.setPointerCapture(event.pointerId);
    last = stepAt(event);
    filling = !isBlank(last);
    setBlank([last], filling, event.timeStamp);
  });
  strip.addEventListener("pointermove", (event) => {
    if (filling === null || !event.buttons) return;
    const next = stepAt(event);
    if (next === last) return;
    const [low, high] = [Math.min(last, next), Math.max(last, next)];
    // A fast pointer skips cells: include those between.
    setBlank(Array.from({ length: high - low + 1 }, (_, n) => low + n), filling, event.timeStamp);
    last = next;
  });
  strip.addEventListener("pointerup", () => (filling = null));
  strip.addEventListener("pointercancel", () => (filling = null));

  const far: Record<string, () => number> = {
    ArrowLeft: () => state.step - 1,
    ArrowUp: () => state.step - 1,
    ArrowRight: () => state.step + 1,
    ArrowDown: () => state.step + 1,
    PageUp: () => state.step - 10,
    PageDown: () => state.step + 10,
    Home: () => 1,
    End: steps,
  };
  strip.addEventListener("keydown", (event) => {
    const next = far[event.key];
    if (next) goTo(next());
    else if ((event.key === " " || event.key === "Enter") && state.plain) {
      setBlank([state.step], !isBlank(state.step), event.timeStamp);
      announce(`${input.unit} ${state.step} ${isBlank(state.step) ? "is blank" : "is read again"}`, 100);
    } else return;
    event.preventDefault();
  });

  panel(["prediction", "step", "what-if", "theme", "size"], () => {
    const count = steps();
    strip.setAttribute("aria-valuemax", String(count));
    strip.setAttribute("aria-valuenow", String(state.step));
    strip.setAttribute(
      "aria-valuetext",
      `${input.unit} ${state.step} of ${count}${isBlank(state.step) ? ", blank" : ""}`,
    );
    const pen = view.begin();
    const [w, h] = [view.width, view.height];
    const length = (upright ? h : w) / count;
    const cell = (step: number): [number, number, number, number] =>
      upright ? [0, (step - 1) * length, w, length] : [(step - 1) * length, 0, length, h];
    pen.fillStyle = theme.block;
    pen.fillRect(0, 0, w, h);
    if (state.plain) {
      pen.fillStyle = theme.line;
      for (let step = 1; step <= state.step; step++) pen.fillRect(...cell(step));
      const blank = state.whatIf.blank.filter((step) => step <= count);
      pen.fillStyle = theme.paper;
      for (const step of blank) pen.fillRect(...cell(step));
      hatch(pen, blank.map(cell), w, h, theme.series[1]!);
      pen.fillStyle = theme.accent;
      const [x, y, a, b] = cell(state.step);
      if (upright) pen.fillRect(x, y, 5, Math.max(2, b));
      else pen.fillRect(x, y, Math.max(2, a), 5);
    }
    if (length < 4) return;
    pen.fillStyle = theme.paper;
    for (let step = 2; step <= count; step++) {
      const [x, y] = cell(step);
      pen.fillRect(x, y, upright ? w : 1, upright ? 1 : h);
    }
  });
}
