// Heat maps of gates and states: a row per unit, a column per step.
import { pane, Raster } from "./canvas";
import type { Pane } from "./canvas";
import { get, make, text } from "./dom";
import { colourIn, drawLegend, subtract, scaleOf } from "./heat";
import type { Scale } from "./heat";
import { ordered } from "./order";
import { goTo } from "./player";
import { changed, model, panel, partOf, shown, state, steps } from "./state";
import { theme } from "./theme";
import { capital, isGate, networkOf, partName, plural, signed } from "./format";

interface PartMap {
  part: string;
  view: Pane;
  legend: Pane;
  raster: Raster;
  gate: boolean;
  scale: Scale;
}

let order: number[] = [];

/** Units from top to bottom, as the maps show them. */
export const currentOrder = (): number[] => order;

export function startMaps(): void {
  const { input } = model();
  const network = networkOf(model());
  const box = get("maps");
  box.dataset.parts = String(network.parts.length);
  box.style.setProperty("--map-height", `${Math.min(384, Math.max(192, network.hidden_size * 2))}px`);
  const maps: PartMap[] = network.parts.map((part) => {
    const canvas = make("canvas", { role: "img", class: "map", "aria-label": capital(partName(model(), part)) });
    const legend = make("canvas", { role: "img", class: "legend", "aria-label": "Colour scale" });
    box.append(make("figure", { id: `map-${part}` }, make("figcaption", {}, capital(partName(model(), part))), canvas, legend));
    const found: PartMap = { part, view: pane(canvas), legend: pane(legend), raster: new Raster(), gate: true, scale: { size: 1, cut: false } };
    listen(found);
    return found;
  });
  box.addEventListener("keydown", onKey);

  panel(["prediction", "step", "unit", "hover", "view", "theme", "size"], (changes) => {
    const result = shown();
    const fresh = ["prediction", "view", "theme"].some((topic) => changes.has(topic as "prediction"));
    if (fresh && result) order = ordered(network.hidden_size);
    const row = order.indexOf(state.unit);
    for (const map of maps) {
      const pen = map.view.begin();
      const { width, height } = map.view;
      if (!result) {
        pen.fillStyle = theme.block;
        pen.fillRect(0, 0, width, height);
        map.legend.begin();
        continue;
      }
      if (fresh) {
        const now = partOf(result, map.part);
        const differs = state.difference && state.altered !== null;
        const values = differs ? subtract(now, partOf(state.plain, map.part)) : now;
        map.gate = isGate(model(), map.part) && !differs;
        map.scale = map.gate ? { size: 1, cut: false } : scaleOf(values);
        colourIn(map.raster, values, order, map.gate, map.scale, theme);
        const what = differs ? "difference made by the what-if" : `${network.hidden_size} units over ${steps()} ${plural(input.unit)}`;
        map.view.canvas.setAttribute("aria-label", `${capital(partName(model(), map.part))}: ${what}`);
      }
      if (fresh || changes.has("size")) {
        drawLegend(map.legend.begin(), 0, 1, map.legend.width, map.gate, map.scale, theme);
        map.legend.canvas.setAttribute("aria-label", `Colour scale from ${map.gate ? 0 : -map.scale.size} to ${map.scale.size}`);
      }
      map.raster.draw(pen, 0, 0, width, height);
      const [w, h] = [width / steps(), height / order.length];
      // Steps that are not read yet are faded, as in the image.
      pen.fillStyle = theme.paper;
      pen.globalAlpha = 0.72;
      pen.fillRect(state.step * w, 0, width, height);
      pen.globalAlpha = 1;
      pen.fillStyle = theme.ink;
      if (state.step < steps()) pen.fillRect(state.step * w - 0.5, 0, 1, height);
      if (row >= 0) {
        const [top, tall] = [Math.floor(row * h) - 1, Math.max(2, h) + 2];
        pen.strokeStyle = theme.ink;
        pen.lineWidth = 1;
        pen.strokeRect(0.5, top + 0.5, width - 1, tall);
      }
    }
    readout();
  });

  function listen(map: PartMap): void {
    const { canvas } = map.view;
    const at = (event: PointerEvent): { part: string; unit: number; step: number } => {
      const box = canvas.getBoundingClientRect();
      const fraction = (p: number): number => Math.min(0.9999, Math.max(0, p));
      const column = Math.floor(fraction((event.clientX - box.left) / box.width) * steps());
      const line = Math.floor(fraction((event.clientY - box.top) / box.height) * order.length);
      return { part: map.part, unit: order[line] ?? 0, step: column + 1 };
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (!shown()) return;
      canvas.setPointerCapture(event.pointerId);
      const found = at(event);
      state.hover = found;
      choosePart(found.part);
      chooseUnit(found.unit);
      goTo(found.step);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!shown()) return;
      state.hover = at(event);
      if (event.buttons) goTo(state.hover.step);
      changed("hover");
    });
    canvas.addEventListener("pointerleave", () => {
      state.hover = null;
      changed("hover");
    });
  }

  function onKey(event: KeyboardEvent): void {
    const row = order.indexOf(state.unit);
    const to = (place: number): void => chooseUnit(order[Math.min(order.length - 1, Math.max(0, place))] ?? 0);
    const keys: Record<string, () => void> = {
      ArrowUp: () => to(row - 1),
      ArrowDown: () => to(row + 1),
      PageUp: () => to(row - 10),
      PageDown: () => to(row + 10),
      Home: () => to(0),
      End: () => to(order.length - 1),
      ArrowLeft: () => goTo(state.step - 1),
      ArrowRight: () => goTo(state.step + 1),
    };
    const act = keys[event.key];
    if (!act || !shown()) return;
    event.preventDefault();
    state.hover = null;
    act();
  }

  /** Shows the values under the pointer, otherwise those of the selected unit at the current step. */
  function readout(): void {
    const result = shown();
    if (!result) {
      text(get("readout"), " ");
      return;
    }
    const seen = result.prediction.seen;
    const { unit, step, part } = state.hover ?? { unit: state.unit, step: state.step, part: "" };
    const value = (name: string): string => signed(partOf(result, name)[step - 1]?.[unit] ?? Number.NaN);
    const before = state.altered && part ? partOf(state.plain, part)[step - 1]?.[unit] : undefined;
    const all = network.parts.map((name) => `${name} ${value(name)}`).join("  ");
    const then = before === undefined ? "" : ` (without what-ifs: ${signed(before)})`;
    const token = input.kind === "text" && Array.isArray(seen) ? ` “${String(seen[step - 1] ?? "")}”` : "";
    text(get("readout"), `Unit ${unit}, ${input.unit} ${step}${token}: ${part ? `${partName(model(), part)} ${value(part)}${then}` : all}`);
  }
}

export function chooseUnit(unit: number): void {
  if (unit === state.unit || !Number.isInteger(unit)) return;
  state.unit = unit;
  changed("unit");
}

function choosePart(part: string): void {
  if (part === state.part) return;
  state.part = part;
  changed(state.sort === "number" ? "unit" : "view");
}
