// Choosing the input, wherever it comes from.
import { requestPrediction } from "./requests";
import { clearError } from "./errors";
import { changed, state } from "./state";
import type { Input } from "./types";

/** Makes `input` the current input; null for none. */
export function choose(input: Input | null, at?: number): void {
  clearError();
  state.input = input;
  changed("input");
  requestPrediction(at);
}

export function clearInput(at?: number): void {
  choose(null, at);
}
