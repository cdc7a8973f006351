// Shorthands for the DOM.

/** Returns the element `id` of index.html. */
export function get<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no #${id}`);
  return found as T;
}

type Attributes = Record<string, string | number | boolean>;

/** Creates an element; attributes that are false are omitted. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false) found.setAttribute(name, value === true ? "" : String(value));
  }
  found.append(...children);
  return found;
}

/** Sets a text only if it differs: this saves layouts, and screen readers do not repeat it. */
export function text(element: HTMLElement, words: string): void {
  if (element.textContent !== words) element.textContent = words;
}

export function options(select: HTMLSelectElement, named: [value: string, words: string][]): void {
  select.replaceChildren(...named.map(([value, words]) => make("option", { value }, words)));
}

/** Fills a table with a caption, column headers, and a header in each row. */
export function fillTable(
  table: HTMLTableElement,
  caption: string,
  heads: string[],
  rows: (string | number)[][],
): void {
  const head = make("tr", {}, ...heads.map((words) => make("th", { scope: "col" }, words)));
  const body = rows.map((row) =>
    make("tr", {}, ...row.map((cell, at) => make(at ? "td" : "th", at ? {} : { scope: "row" }, String(cell)))),
  );
  table.replaceChildren(make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
}

let later = 0;

/** Announces to screen readers after a pause without changes: a drawing changes many times a second. */
export function announce(words: string, wait = 700): void {
  clearTimeout(later);
  later = window.setTimeout(() => text(get("live"), words), wait);
}
