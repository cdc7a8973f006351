// What-ifs: blank steps, clamped gates, silenced units. The server computes the effect.
import { requestPrediction } from "./requests";
import { get, make, options, text } from "./dom";
import { changed, model, noWhatIf, panel, state, steps } from "./state";
import type { Clamp, Silence, Direction, WhatIf } from "./types";
import { isEmpty, networkOf, partName, place, plural, runs } from "./format";

function setWhatIf(next: WhatIf, at?: number): void {
  state.whatIf = next;
  changed("what-if");
  requestPrediction(at);
}

export function setBlank(which: number[], blank: boolean, at?: number): void {
  const left = new Set(state.whatIf.blank);
  for (const step of which) blank ? left.add(step) : left.delete(step);
  setWhatIf({ ...state.whatIf, blank: [...left].sort((a, b) => a - b) }, at);
}

const same = (a: Silence | Clamp, b: Silence | Clamp): boolean => a.layer === b.layer && a.direction === b.direction;

export function setSilent(which: Silence, silent: boolean, at?: number): void {
  const others = state.whatIf.silence.filter((each) => each.unit !== which.unit || (silent && !same(each, which)));
  setWhatIf({ ...state.whatIf, silence: silent ? [...others, which] : others }, at);
}

function setClamp(clamp: Clamp, at?: number): void {
  // Two values for one gate would contradict each other: keep the later one.
  const meet = (each: Clamp): boolean =>
    each.gate === clamp.gate &&
    (each.layer === undefined || clamp.layer === undefined || each.layer === clamp.layer) &&
    (each.direction === undefined || clamp.direction === undefined || each.direction === clamp.direction);
  setWhatIf({ ...state.whatIf, clamp: [...state.whatIf.clamp.filter((each) => !meet(each)), clamp] }, at);
}

/** Checks the form of the what-ifs of a link; the server checks the values. Throws if it is wrong. */
export function parseWhatIf(given: unknown): WhatIf {
  const wrong = (): never => {
    throw new Error("its what-ifs cannot be read");
  };
  const whole = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
  const list = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value : wrong());
  const where = (each: Record<string, unknown>): { layer?: number; direction?: Direction } => {
    const found: { layer?: number; direction?: Direction } = {};
    if (each.layer !== undefined) found.layer = whole(each.layer) ? each.layer : wrong();
    if (each.direction !== undefined) {
      found.direction = each.direction === "forward" || each.direction === "backward" ? each.direction : wrong();
    }
    return found;
  };
  if (typeof given !== "object" || given === null) return wrong();
  const { blank = [], clamp = [], silence = [] } = given as Record<string, unknown>;
  return {
    blank: list(blank).map((step) => (whole(step) ? step : wrong())),
    clamp: list(clamp).map((each) => ({
      gate: typeof each.gate === "string" ? each.gate : wrong(),
      value: typeof each.value === "number" ? each.value : wrong(),
      ...where(each),
    })),
    silence: list(silence).map((each) => ({ unit: whole(each.unit) ? each.unit : wrong(), ...where(each) })),
  };
}

/** Returns whether the field has a valid number; otherwise the browser shows what is wrong. */
function isValid(field: HTMLInputElement): boolean {
  if (!field.value) field.focus();
  return field.value !== "" && field.reportValidity();
}

export function startWhatIf(): void {
  const given = model();
  const { input } = given;
  const network = networkOf(given);
  const unit = input.unit;
  const gate = get<HTMLSelectElement>("what-if-gate");
  const where = get<HTMLSelectElement>("what-if-layer");
  const [from, to] = [get<HTMLInputElement>("what-if-from"), get<HTMLInputElement>("what-if-to")];
  const silent = get<HTMLInputElement>("what-if-unit");
  // The forget gate first: it decides what the network remembers.
  const gates = [...network.gates].sort((a, b) => Number(b === network.forget_gate) - Number(a === network.forget_gate));
  options(gate, gates.map((name) => [name, partName(given, name)]));
  get("what-if-gates").hidden = !gates.length;
  const ways: (Direction | "")[] = network.bidirectional ? ["forward", "backward"] : [""];
  const places = Array.from({ length: network.layers }, (_, n) => ways.map((way): [string, string] => [`${network.layers > 1 ? n + 1 : ""}:${way}`, [network.layers > 1 ? `layer ${n + 1}` : "", way].filter(Boolean).join(", ")])).flat();
  options(where, [["", "all layers"], ...places]);
  where.hidden = places.length < 2;
  silent.max = String(network.hidden_size - 1);
  text(get("what-if-blank-legend"), `Blank ${plural(unit)}`);

  const held = (value: number) => (event: Event): void => {
    const [layer, direction] = where.value.split(":");
    setClamp({ gate: gate.value, value, ...(layer ? { layer: Number(layer) } : {}), ...(direction ? { direction: direction as Direction } : {}) }, event.timeStamp);
  };
  get("what-if-hold-0").addEventListener("click", held(0));
  get("what-if-hold-1").addEventListener("click", held(1));
  get("what-if-blank").addEventListener("click", (event) => {
    if (!isValid(from) || (to.value && !isValid(to))) return;
    const ends = [Number(from.value), Number(to.value || from.value)];
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    setBlank(Array.from({ length: high - low + 1 }, (_, n) => low + n), true, event.timeStamp);
  });
  get("what-if-silence").addEventListener("click", (event) => {
    if (!isValid(silent)) return;
    setSilent({ unit: Number(silent.value) }, true, event.timeStamp);
  });
  get("what-if-reset").addEventListener("click", (event) => {
    setWhatIf(noWhatIf(), event.timeStamp);
    get("what-if-title").scrollIntoView({ block: "nearest" });
  });

  const list = get("what-if-list");
  panel(["prediction", "what-if"], () => {
    from.max = to.max = String(steps());
    const now = state.whatIf;
    get("what-if-reset").hidden = isEmpty(now);
    const chips: [string, () => void][] = [];
    if (now.blank.length) {
      const words = `${now.blank.length > 1 ? plural(unit) : unit} ${runs(now.blank)} blank`;
      chips.push([words, () => setWhatIf({ ...now, blank: [] })]);
    }
    for (const each of now.clamp) {
      chips.push([`${partName(given, each.gate)} clamped to ${each.value}${place(given, each)}`, () => setWhatIf({ ...now, clamp: now.clamp.filter((other) => other !== each) })]);
    }
    for (const each of now.silence) {
      chips.push([`unit ${each.unit} silenced${place(given, each)}`, () => setWhatIf({ ...now, silence: now.silence.filter((other) => other !== each) })]);
    }
    const entries = chips.map(([words]) => words).join("\n");
    if (list.dataset.text === entries) return;
    list.dataset.text = entries;
    list.replaceChildren(
      ...chips.map(([words, remove]) => {
        const button = make("button", { type: "button", "aria-label": `Remove: ${words}` }, "×");
        button.addEventListener("click", () => {
          remove();
          get("what-if-gate").focus();
        });
        return make("li", {}, words, button);
      }),
    );
  });
}
