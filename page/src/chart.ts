// The chart of class probabilities after each step, and the same as a table.
import { pane } from "./canvas";
import { drawChart, edges, MAX_LINES, ranked } from "./curves";
import { fillTable, get } from "./dom";
import { goTo } from "./player";
import { model, panel, state, steps, trace } from "./state";
import { theme } from "./theme";
import { summary } from "./prediction";
import { capital, className, percent, plural } from "./format";

export function startChart(): void {
  const canvas = get<HTMLCanvasElement>("chart");
  const view = pane(canvas);
  const numbers = get<HTMLDetailsElement>("chart-numbers");
  const { input } = model();
  let room = { left: 0, right: 0 };
  const stepAt = (event: PointerEvent): number => {
    const box = canvas.getBoundingClientRect();
    return Math.floor(((event.clientX - box.left - room.left) / (box.width - room.left - room.right)) * steps()) + 1;
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    goTo(stepAt(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) goTo(stepAt(event));
  });

  function fill(): void {
    const now = trace();
    if (!now || !numbers.open) return;
    const order = ranked(now).slice(0, MAX_LINES);
    fillTable(
      get<HTMLTableElement>("chart-table"),
      "Probability of each class after each step",
      [capital(input.unit), "prediction", ...order.map((k) => className(model(), now.classes[k]!))],
      now.probabilities.map((row, t) => [t + 1, className(model(), now.classes[row.indexOf(Math.max(...row))]!), ...order.map((k) => percent(row[k]!))]),
    );
  }
  numbers.addEventListener("toggle", fill);

  panel(["prediction", "step", "theme", "size"], (changes) => {
    const pen = view.begin();
    const now = trace();
    if (!now) {
      pen.fillStyle = theme.block;
      pen.fillRect(0, 0, view.width, view.height);
      canvas.setAttribute("aria-label", "No probabilities yet");
      return;
    }
    room = edges(now, view.width);
    const before = state.altered ? (state.plain?.prediction.trace ?? null) : null;
    drawChart(pen, view.width, view.height, now, before, state.step, input.unit, theme);
    if (!changes.has("prediction")) return;
    canvas.setAttribute("aria-label", `Probabilities over ${steps()} ${plural(input.unit)}. ${summary(now, input.unit)} The table below has the numbers.`);
    fill();
  });
}
