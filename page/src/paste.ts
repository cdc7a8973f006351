// The text field for tables, for models that read other sequences than images.
import { get, text } from "./dom";
import { choose, clearInput } from "./inputs";
import { clearError, showError } from "./errors";
import { panel, state } from "./state";
import { readTable, TableError, writeTable } from "./table";
import type { Input, SequenceInput, Steps } from "./types";

let form: SequenceInput | null = null;
let own: Input | null = null;

/** Reads the field. */
export function readPaste(time?: number): void {
  const field = get<HTMLTextAreaElement>("paste");
  if (!form) return;
  try {
    const values = readTable(field.value, form);
    field.removeAttribute("aria-invalid");
    clearError();
    own = { values, fit: false, source: "paste", title: "your table" };
    choose(own, time);
  } catch (error) {
    if (!(error instanceof TableError)) throw error;
    field.setAttribute("aria-invalid", "true");
    showError(error.message);
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
  const columns = given.features === 1 ? "one number per step" : `${given.features} columns${names}`;
  const missing = given.missing === "error" ? "Fields must not be empty." : "An empty field is a missing value.";
  text(get("paste-help"), `${columns.charAt(0).toUpperCase()}${columns.slice(1)}; separated by commas, semicolons or tabs; a header is optional. ${missing}`);
  text(get("paste-label"), given.features === 1 ? "One number per line, one line per step" : "One row per step, one column per feature");
  let later = 0;
  field.addEventListener("input", (event) => {
    clearTimeout(later);
    const pasted = (event as InputEvent).inputType === "insertFromPaste";
    // Do not report errors while somebody is typing.
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
    clearInput(event.timeStamp);
  });
  panel(["input"], () => {
    const { input } = state;
    if (!input?.values || input === own) return;
    own = input;
    field.value = writeTable(input.values as Steps);
    field.removeAttribute("aria-invalid");
  });
}
