// Choosing what is read, wherever it comes from.
import { ask } from "./asking";
import { clearProblem } from "./problem";
import { changed, state } from "./state";
import type { Input } from "./types";

/** `input` is read from now on; null: nothing is. */
export function choose(input: Input | null, at?: number): void {
  clearProblem();
  state.input = input;
  changed("input");
  ask(at);
}

export function wipe(at?: number): void {
  choose(null, at);
}
