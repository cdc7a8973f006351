// The field for tables, on pages of models that read other sequences than pictures.
import { get, text } from "./dom";
import { choose, wipe } from "./inputs";
import { clearProblem, tellProblem } from "./problem";
import { panel, state } from "./state";
import { readTable, TableFault, writeTable } from "./sequence";
import type { Input, SequenceInput, Steps } from "./types";

let form: SequenceInput | null = null;
let mine: Input | null = null;

/** Reads what stands in the field. */
export function readPaste(time?: number): void {
  const field = get<HTMLTextAreaElement>("paste");
  if (!form) return;
  try {
    const values = readTable(field.value, form);
    field.removeAttribute("aria-invalid");
    clearProblem();
    mine = { values, fit: false, source: "paste", title: "your table" };
    choose(mine, time);
  } catch (error) {
    if (!(error instanceof TableFault)) throw error;
    field.setAttribute("aria-invalid", "true");
    tellProblem(error.message);
    document.body.dataset.state = "failed";
  }
}

export function fillPaste(words: string): void {
  get<HTMLTextAreaElement>("paste").value = words;
  readPaste();
}

export function startPaste(given: SequenceInput): void {
  form = given;
  const field = get<HTMLTextAreaElement>("paste");
  const names = given.names?.length ? `: ${given.names.slice(0, 8).join(", ")}${given.names.length > 8 ? " …" : ""}` : "";
  const columns = given.features === 1 ? "one number a step" : `${given.features} columns${names}`;
  const missing = given.missing === "error" ? "No field may be empty." : "An empty field is a missing value.";
  text(get("paste-help"), `${columns.charAt(0).toUpperCase()}${columns.slice(1)}; commas, semicolons or tabs; a header if you like. ${missing}`);
  text(get("paste-label"), given.features === 1 ? "A number for each step, each on its line" : "A row for each step, a column for each feature");
  let later = 0;
  field.addEventListener("input", (event) => {
    clearTimeout(later);
    const pasted = (event as InputEvent).inputType === "insertFromPaste";
    // Someone who types is not corrected at every key.
    if (field.value.trim()) later = window.setTimeout(() => readPaste(event.timeStamp), pasted ? 0 : 900);
  });
  get("read-paste").addEventListener("click", (event) => {
    clearTimeout(later);
    readPaste(event.timeStamp);
  });
  get("clear-paste").addEventListener("click", (event) => {
    clearTimeout(later);
    field.value = "";
    field.removeAttribute("aria-invalid");
    wipe(event.timeStamp);
  });
  panel(["input"], () => {
    const { input } = state;
    if (!input?.values || input === mine) return;
    mine = input;
    field.value = writeTable(input.values as Steps);
    field.removeAttribute("aria-invalid");
  });
}
