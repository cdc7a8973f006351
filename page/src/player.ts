// The player: the current step.
import { get, text } from "./dom";
import { changed, model, panel, state, steps } from "./state";
import { capital, plural } from "./format";

let started = 0;
let from = 1;

export function goTo(step: number): void {
  pause();
  move(step);
}

function move(step: number): void {
  const next = Math.min(steps(), Math.max(1, step));
  if (next === state.step) return;
  state.step = next;
  changed("step");
}

export function pause(): void {
  if (!state.playing) return;
  state.playing = false;
  changed("step");
}

/** Plays from the current step, or from the first if the current one is the last. */
export function play(): void {
  if (steps() < 2) return;
  if (state.step >= steps()) move(1);
  state.playing = true;
  started = performance.now();
  from = state.step;
  changed("step");
  requestAnimationFrame(tick);
}

/** Plays the chosen input, unless the visitor prefers reduced motion. */
export function autoplay(): void {
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) play();
}

function tick(now: number): void {
  if (!state.playing) return;
  // Few steps are played slowly; many take 8 s at most.
  const seconds = Math.min(8, Math.max(2.4, 0.11 * steps()));
  const speed = Number(get<HTMLSelectElement>("speed").value);
  move(from + Math.floor(((now - started) / 1000) * speed * (steps() / seconds)));
  if (state.step >= steps()) pause();
  else requestAnimationFrame(tick);
}

export function startPlayer(): void {
  const range = get<HTMLInputElement>("step");
  const unit = model().input.unit;
  text(get("step-label"), capital(unit));
  range.addEventListener("input", () => goTo(Number(range.value)));
  get("prev").addEventListener("click", () => goTo(state.step - 1));
  get("next").addEventListener("click", () => goTo(state.step + 1));
  get("prev").setAttribute("aria-label", `Previous ${unit}`);
  get("next").setAttribute("aria-label", `Next ${unit}`);
  get("play").addEventListener("click", () => (state.playing ? pause() : play()));
  get("speed").addEventListener("change", () => {
    started = performance.now();
    from = state.step;
  });
  panel(["step", "prediction"], () => {
    range.max = String(steps());
    range.value = String(state.step);
    range.disabled = !state.plain;
    range.setAttribute("aria-valuetext", `${unit} ${state.step} of ${steps()}`);
    text(get("step-status"), state.plain ? `${unit} ${state.step} of ${steps()}` : `no ${plural(unit)}`);
    text(get("play"), state.playing ? "Pause" : "Play");
    for (const id of ["prev", "play", "next"]) get<HTMLButtonElement>(id).disabled = !state.plain;
  });
}
