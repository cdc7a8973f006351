// The probabilities after the step that the cursor stands at; an outline shows them without the what-ifs.
import { get, make, text } from "./dom";
import { model, panel, state, steps, trace } from "./state";
import { percent, plural } from "./words";

const MOST = 12;

interface Bar {
  row: HTMLLIElement;
  name: HTMLElement;
  fill: HTMLElement;
  outline: HTMLElement;
  share: HTMLElement;
}

function bar(): Bar {
  const name = make("span", { class: "name" });
  const fill = make("span", { class: "fill" });
  const outline = make("span", { class: "outline" });
  const share = make("span", { class: "share" });
  const row = make("li", {}, name, make("span", { class: "track", "aria-hidden": "true" }, fill, outline), share);
  return { row, name, fill, outline, share };
}

export function startBars(): void {
  const { classes, input } = model();
  const all = classes.length <= MOST;
  const bars = classes.slice(0, all ? MOST : 10).map(bar);
  get("bars").replaceChildren(...bars.map((each) => each.row));
  panel(["answer", "step"], () => {
    const now = trace()?.probabilities[state.step - 1];
    const before = state.altered ? state.plain?.prediction.trace.probabilities[state.step - 1] : undefined;
    const order = classes.map((_, at) => at);
    if (!all && now) order.sort((a, b) => now[b]! - now[a]!);
    const best = now ? Math.max(...now) : 2;
    bars.forEach((each, place) => {
      const at = order[place]!;
      const share = now?.[at];
      text(each.name, String(classes[at]));
      text(each.share, share === undefined ? "" : percent(share));
      each.fill.style.transform = `scaleX(${share ?? 0})`;
      // Of next to nothing an outline is all border.
      each.outline.hidden = !before || before[at]! < 0.005;
      if (before) each.outline.style.width = `${100 * before[at]!}%`;
      each.row.classList.toggle("best", share === best);
    });
    const unit = input.unit;
    const whole = state.step >= steps();
    text(get("bars-title"), whole && now ? `After all ${steps()} ${plural(unit)}` : now ? `After ${unit} ${state.step}` : "Probabilities");
    const words = [all ? "" : `The ${bars.length} likeliest of ${classes.length}.`, before ? "Outlined: without the what-ifs." : ""];
    text(get("bars-rest"), words.filter(Boolean).join(" "));
  });
}
