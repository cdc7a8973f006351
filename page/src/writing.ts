// The text field, for models that read texts: a prediction for every change.
import { get, text } from "./dom";
import { choose, clearInput } from "./inputs";
import { panel, state } from "./state";
import { joined } from "./tokens";
import type { Input, TextInput, Tokens } from "./types";

let own: Input | null = null;

/** Puts a text in the field and reads it. */
export function fillText(words: string, title: string, time?: number): void {
  get<HTMLTextAreaElement>("writing-text").value = words;
  read(words, title, time);
}

function read(words: string, title: string, time?: number): void {
  if (!words.trim()) {
    own = null;
    clearInput(time);
    return;
  }
  own = { values: words, fit: false, source: "text", title };
  choose(own, time);
}

export function startWriting(form: TextInput): void {
  const field = get<HTMLTextAreaElement>("writing-text");
  const length = form.maximum_length ? ` The first ${form.maximum_length} are read.` : "";
  const cases = form.lower_case ? " Capital and small letters are the same." : "";
  text(get("writing-help"), `Read as ${form.tokens}, and predicted while you write.${cases}${length}`);
  field.addEventListener("input", (event) => read(field.value, "your text", event.timeStamp));
  get("clear-writing").addEventListener("click", (event) => {
    field.value = "";
    read("", "", event.timeStamp);
    field.focus();
  });
  panel(["input"], () => {
    const { input } = state;
    if (!input?.values || input === own) return;
    own = input;
    field.value = joined(input.values as string | Tokens, form.tokens);
  });
}
