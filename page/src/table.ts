// Pasted tables: a row per step, a column per feature.
import type { SequenceInput, Steps } from "./types";

/** A table that cannot be read; the message names the line. */
export class TableError extends Error {}

const MISSING = new Set(["", "nan", "na", "n/a", "null", "none", "?"]);
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

interface Line {
  number: number;
  fields: string[];
}

/** Splits lines at tabs, else semicolons, else commas. With semicolons, commas are decimal commas. */
function cut(text: string, features: number): Line[] {
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\r|\n/);
  const between = text.includes("\t") ? "\t" : text.includes(";") ? ";" : features === 1 && !/,/.test(text) ? "\n" : ",";
  return lines
    .map((line, at) => ({
      number: at + 1,
      fields: line.split(between).map((field) => {
        const bare = field.trim().replace(/^"(.*)"$/, "$1");
        return between !== "," && /^[^.]*,[^,]*$/.test(bare) ? bare.replace(",", ".") : bare;
      }),
    }))
    .filter((line) => line.fields.some((field) => field !== ""));
}

/** Returns the columns with the names of the features if all are present, otherwise null for all columns. */
function columnsOf(header: string[], names: string[] | null): number[] | null {
  const places = names?.map((name) => header.indexOf(name));
  return places?.every((place) => place >= 0) ? places : null;
}

/** Raises TableError. */
export function readTable(text: string, form: SequenceInput): Steps {
  const lines = cut(text, form.features);
  const first = lines[0];
  if (!first) throw new TableError("the table is empty: paste one row per step");
  let columns: number[] | null = null;
  let names = form.names ?? null;
  const named = (at: number): boolean => form.categorical.includes(at);
  const found = columnsOf(first.fields, names);
  if (form.categorical.length && found) {
    lines.shift();
    columns = found;
  } else if (first.fields.some((field, at) => !named(at) && !NUMBER.test(field) && !MISSING.has(field.toLowerCase()))) {
    const numbers = first.fields.filter((field) => NUMBER.test(field)).length;
    // A header has no numbers; a row with a typing error has.
    if (numbers === 0) {
      lines.shift();
      columns = found;
      names ??= first.fields.length === form.features ? first.fields : null;
    }
  }
  if (!lines.length) throw new TableError(`line ${first.number}: expected rows of numbers below the header, found none`);
  return lines.map(({ number, fields }) => {
    const chosen = columns ? columns.map((place) => fields[place] ?? "") : fields;
    if (chosen.length !== form.features) {
      const wanted = form.features === 1 ? "1 number" : `${form.features} numbers`;
      throw new TableError(`line ${number}: expected ${wanted}, found ${chosen.length}`);
    }
    return chosen.map((field, at) => {
      if (named(at)) return field === "" ? null : field;
      const column = `line ${number}, column ${names?.[at] ?? at + 1}`;
      if (NUMBER.test(field)) return Number(field);
      if (!MISSING.has(field.toLowerCase())) throw new TableError(`${column}: expected a number, found “${field.slice(0, 40)}”`);
      if (form.missing === "error") throw new TableError(`${column}: expected a number, found an empty field; this model does not accept missing values`);
      return null;
    });
  });
}

/** Writes a table; reading it gives the same numbers, bit for bit. */
export const writeTable = (steps: Steps): string =>
  steps.map((row) => row.map((value) => (value === null ? (row.length > 1 ? "" : "nan") : String(value))).join(",")).join("\n");
