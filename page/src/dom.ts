// Small words for the document.

/** The element of `id`, which index.html has. */
export function get<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no #${id}`);
  return found as T;
}

type Attributes = Record<string, string | number | boolean>;

/** A new element; attributes that are false are left out. */
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

/** Sets a text only where it differs: unchanged nodes cost no layout, and screen readers stay calm. */
export function text(element: HTMLElement, words: string): void {
  if (element.textContent !== words) element.textContent = words;
}

export function options(select: HTMLSelectElement, named: [value: string, words: string][]): void {
  select.replaceChildren(...named.map(([value, words]) => make("option", { value }, words)));
}

/** A table with a caption, column heads, and a head in each row. */
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

/** Tells screen readers, when things have been quiet for a moment: a drawing changes many times a second. */
export function announce(words: string, wait = 700): void {
  clearTimeout(later);
  later = window.setTimeout(() => text(get("live"), words), wait);
}
