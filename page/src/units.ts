// Selects layer, order and unit; shows one unit over the steps, and its numbers.
import { pane } from "./canvas";
import { drawUnit, LEFT, RIGHT } from "./unitplot";
import { announce, fillTable, get, options, text } from "./dom";
import { chooseUnit, currentOrder } from "./maps";
import { goTo } from "./player";
import { changed, layerOf, model, panel, partOf, shown, state, steps } from "./state";
import { theme } from "./theme";
import { setSilent } from "./whatif";
import { capital, layerName, networkOf, partName, signed } from "./format";

export function startUnits(): void {
  const given = model();
  const { input } = given;
  const network = networkOf(given);
  const field = get<HTMLInputElement>("unit");
  const layer = get<HTMLSelectElement>("layer");
  const part = get<HTMLSelectElement>("part");
  const numbers = get<HTMLDetailsElement>("units-numbers");
  const canvas = get<HTMLCanvasElement>("unit-plot");
  const view = pane(canvas);
  const ways = network.bidirectional ? (["forward", "backward"] as const) : (["forward"] as const);
  const layers = Array.from({ length: network.layers }, (_, n) => ways.map((direction) => ({ layer: n + 1, direction }))).flat();
  options(layer, layers.map((each, at) => [String(at), layerName(given, each)]));
  get("layer-line").hidden = layers.length < 2;
  options(part, network.parts.map((name) => [name, partName(given, name)]));
  // Start with the last layer, whose outputs the prediction is computed from.
  state.layer = Math.max(0, layers.length - ways.length);
  layer.value = String(state.layer);
  state.part = part.value = network.forget_gate ?? network.parts[network.parts.length - 1]!;
  field.max = String(network.hidden_size - 1);

  layer.addEventListener("change", () => {
    state.layer = Number(layer.value);
    changed("view");
  });
  get("sort").addEventListener("change", (event) => {
    state.sort = (event.target as HTMLSelectElement).value;
    changed("view");
  });
  part.addEventListener("change", () => {
    state.part = part.value;
    changed("view");
  });
  get("difference").addEventListener("change", (event) => {
    state.difference = (event.target as HTMLInputElement).checked;
    changed("view");
  });
  field.addEventListener("input", () => {
    const unit = Number(field.value);
    if (field.value !== "" && field.validity.valid) chooseUnit(unit);
  });
  const here = (): { layer?: number; direction?: "forward" | "backward" } => {
    const at = layers[state.layer]!;
    return {
      ...(network.layers > 1 ? { layer: at.layer } : {}),
      ...(network.bidirectional ? { direction: at.direction } : {}),
    };
  };
  const isSilent = (): boolean => {
    const at = layers[state.layer]!;
    return state.whatIf.silence.some(
      (each) => each.unit === state.unit && (each.layer ?? at.layer) === at.layer && (each.direction ?? at.direction) === at.direction,
    );
  };
  get("silence").addEventListener("click", (event) => setSilent({ unit: state.unit, ...here() }, !isSilent(), event.timeStamp));

  const drag = (event: PointerEvent): void => {
    const box = canvas.getBoundingClientRect();
    goTo(Math.floor(((event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT)) * steps()) + 1);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    drag(event);
  });
  canvas.addEventListener("pointermove", (event) => event.buttons && drag(event));

  function fill(): void {
    const result = shown();
    if (!result || !numbers.open) return;
    const of = (name: string, step: number, unit: number): string => signed(partOf(result, name)[step - 1]?.[unit] ?? 0);
    const rows = Array.from({ length: Math.min(steps(), 1000) }, (_, t) => [t + 1, ...network.parts.map((name) => of(name, t + 1, state.unit))]);
    fillTable(get<HTMLTableElement>("units-table"), `Unit ${state.unit}, ${input.unit} by ${input.unit}`, [capital(input.unit), ...network.parts], rows);
  }
  numbers.addEventListener("toggle", fill);

  panel(["prediction", "step", "unit", "view", "theme", "size", "what-if"], (changes) => {
    text(get("unit-title"), `Unit ${state.unit}`);
    if (document.activeElement !== field) field.value = String(state.unit);
    part.value = state.part;
    text(get("silence"), isSilent() ? "Restore" : "Silence");
    const result = shown();
    get<HTMLButtonElement>("silence").disabled = !result;
    get("difference-line").hidden = !state.altered;
    const pen = view.begin();
    if (!result || !layerOf(result)) {
      pen.fillStyle = theme.block;
      pen.fillRect(0, 0, view.width, view.height);
      return;
    }
    drawUnit(pen, view.width, view.height, given, state.unit, theme);
    if (["prediction", "unit", "view"].some((topic) => changes.has(topic as "unit"))) {
      canvas.setAttribute("aria-label", `Unit ${state.unit} over ${steps()} steps; the table below has the numbers`);
      fill();
    }
    if (changes.has("unit")) {
      const place = currentOrder().indexOf(state.unit) + 1;
      announce(`Unit ${state.unit}, ${place} of ${network.hidden_size}. ${get("readout").textContent}`, 300);
    }
  });
  text(get("unit-keys"), network.parts.map((name) => `${name}: ${partName(given, name).replace(/ \w$/, "")}`).join(", "));
}
