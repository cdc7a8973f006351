// The chart of what it would have answered, and the same in numbers.
import { pane } from "./canvas";
import { drawChart, edges, MOST_LINES, ranked } from "./curves";
import { fillTable, get } from "./dom";
import { goTo } from "./reading";
import { model, panel, state, steps, trace } from "./state";
import { theme } from "./theme";
import { course } from "./verdict";
import { capital, percent, plural } from "./words";

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
    const order = ranked(now).slice(0, MOST_LINES);
    fillTable(
      get<HTMLTableElement>("chart-table"),
      "Probability of each class, had it ended there",
      [capital(input.unit), "answer", ...order.map((k) => String(now.classes[k]))],
      now.probabilities.map((row, t) => [t + 1, String(now.classes[row.indexOf(Math.max(...row))]), ...order.map((k) => percent(row[k]!))]),
    );
  }
  numbers.addEventListener("toggle", fill);

  panel(["answer", "step", "theme", "size"], (changes) => {
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
    if (!changes.has("answer")) return;
    canvas.setAttribute("aria-label", `Probabilities over ${steps()} ${plural(input.unit)}. ${course(now, input.unit)} The numbers are in the table below.`);
    fill();
  });
}
