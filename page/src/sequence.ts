// Tables that are pasted: a row for each step, a column for each feature.
import type { SequenceInput, Steps } from "./types";

/** What is wrong with a table, with the number of its line. */
export class TableFault extends Error {}

const MISSING = new Set(["", "nan", "na", "n/a", "null", "none", "?"]);
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

interface Line {
  number: number;
  fields: string[];
}

/** Tabs before semicolons before commas: where there are semicolons, commas are of the decimals. */
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

/** Which columns are wanted: those that are called like the features, if all are there; otherwise all. */
function columnsOf(header: string[], names: string[] | null): number[] | null {
  const places = names?.map((name) => header.indexOf(name));
  return places?.every((place) => place >= 0) ? places : null;
}

/** Raises TableFault. */
export function readTable(text: string, form: SequenceInput): Steps {
  const lines = cut(text, form.features);
  const first = lines[0];
  if (!first) throw new TableFault("there is nothing to read: paste a row for each step");
  let columns: number[] | null = null;
  let names = form.names ?? null;
  if (first.fields.some((field) => !NUMBER.test(field) && !MISSING.has(field.toLowerCase()))) {
    const numbers = first.fields.filter((field) => NUMBER.test(field)).length;
    // A header has no numbers; a row with a slip of the pen has.
    if (numbers === 0) {
      lines.shift();
      columns = columnsOf(first.fields, names);
      names ??= first.fields.length === form.features ? first.fields : null;
    }
  }
  if (!lines.length) throw new TableFault(`line ${first.number}: expected rows of numbers below the header, found none`);
  return lines.map(({ number, fields }) => {
    const chosen = columns ? columns.map((place) => fields[place] ?? "") : fields;
    if (chosen.length !== form.features) {
      const wanted = form.features === 1 ? "1 number" : `${form.features} numbers`;
      throw new TableFault(`line ${number}: expected ${wanted}, found ${chosen.length}`);
    }
    return chosen.map((field, at) => {
      const column = `line ${number}, column ${names?.[at] ?? at + 1}`;
      if (NUMBER.test(field)) return Number(field);
      if (!MISSING.has(field.toLowerCase())) throw new TableFault(`${column}: expected a number, found “${field.slice(0, 40)}”`);
      if (form.missing === "error") throw new TableFault(`${column}: expected a number, found nothing; this model bears no missing values`);
      return null;
    });
  });
}

/** The same as text; reading it gives the same numbers, to the last bit. */
export const writeTable = (steps: Steps): string =>
  steps.map((row) => row.map((value) => (value === null ? (row.length > 1 ? "" : "nan") : String(value))).join(",")).join("\n");
