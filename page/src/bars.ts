// The probabilities after the current step; outlines show them without the what-ifs.
import { get, make, text } from "./dom";
import { model, panel, state, steps, trace } from "./state";
import { percent, plural } from "./format";

const MAX_BARS = 12;

interface Bar {
  row: HTMLLIElement;
  name: HTMLElement;
  fill: HTMLElement;
  outline: HTMLElement;
  probability: HTMLElement;
}

function bar(): Bar {
  const name = make("span", { class: "name" });
  const fill = make("span", { class: "fill" });
  const outline = make("span", { class: "outline" });
  const probability = make("span", { class: "probability" });
  const row = make("li", {}, name, make("span", { class: "track", "aria-hidden": "true" }, fill, outline), probability);
  return { row, name, fill, outline, probability };
}

export function startBars(): void {
  const { class_names: classes, input } = model();
  const all = classes.length <= MAX_BARS;
  const bars = classes.slice(0, all ? MAX_BARS : 10).map(bar);
  get("bars").replaceChildren(...bars.map((each) => each.row));
  panel(["prediction", "step"], () => {
    const now = trace()?.probabilities[state.step - 1];
    const before = state.altered ? state.plain?.prediction.trace.probabilities[state.step - 1] : undefined;
    const order = classes.map((_, at) => at);
    if (!all && now) order.sort((a, b) => now[b]! - now[a]!);
    const best = now ? Math.max(...now) : 2;
    bars.forEach((each, place) => {
      const at = order[place]!;
      const probability = now?.[at];
      text(each.name, classes[at]!);
      text(each.probability, probability === undefined ? "" : percent(probability));
      each.fill.style.transform = `scaleX(${probability ?? 0})`;
      // A narrow outline would be all border.
      each.outline.hidden = !before || before[at]! < 0.005;
      if (before) each.outline.style.width = `${100 * before[at]!}%`;
      each.row.classList.toggle("best", probability === best);
    });
    const unit = input.unit;
    const whole = state.step >= steps();
    const after = whole ? `After all ${steps()} ${plural(unit)}` : `After ${unit} ${state.step}`;
    text(get("bars-title"), now && model().network ? after : "Probabilities");
    const words = [all ? "" : `The ${bars.length} most likely of ${classes.length} classes.`, before ? "Outlines: without the what-ifs." : ""];
    text(get("bars-rest"), words.filter(Boolean).join(" "));
  });
}
