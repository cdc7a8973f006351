// Links that contain the input and the what-ifs: nothing is stored anywhere.
//
//   #p=BYTES   pixels 0..255 in reading order     #j=JSON   pixels that are not bytes     #s=CSV   other sequences
//   #t=TEXT    a text                             #k=JSON   the tokens of a text
//   &fit=1     fit first                          &w=JSON   what-ifs
//
// Each value is base64url of raw DEFLATE.
import { readTable, writeTable } from "./table";
import { parseWhatIf } from "./whatif";
import type { Input, Model, Picture, PictureInput, Steps, WhatIf } from "./types";
import { isEmpty } from "./format";

const MAX_BYTES = 4_000_000; // unpacked: a few kilobytes in a link can unpack to gigabytes

async function pack(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  let letters = "";
  for (const byte of packed) letters += String.fromCharCode(byte);
  return btoa(letters).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

async function unpack(words: string): Promise<Uint8Array<ArrayBuffer>> {
  const packed = Uint8Array.from(atob(words.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let total = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    total += value.length;
    if (total > MAX_BYTES) {
      await reader.cancel();
      throw new Error("it contains too much data");
    }
    pieces.push(value);
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

const utf8 = (words: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(words);
const words = (bytes: Uint8Array): string => new TextDecoder("utf-8", { fatal: true }).decode(bytes);

/** The part of a link after "#". */
export async function hashOf(input: Input, whatIf: WhatIf, model: Model): Promise<string> {
  const found = new URLSearchParams();
  if (!input.values) throw new Error("there is no input to link to yet");
  if (typeof input.values === "string") found.set("t", await pack(utf8(input.values)));
  else if (model.input.kind === "text") found.set("k", await pack(utf8(JSON.stringify(input.values))));
  else if (model.input.kind === "sequence") found.set("s", await pack(utf8(writeTable(input.values as Steps))));
  else {
    const flat = (input.values as number[][][]).flat(2);
    const bytes = flat.every((value) => Number.isInteger(value) && value >= 0 && value <= 255);
    if (bytes) found.set("p", await pack(Uint8Array.from(flat)));
    else found.set("j", await pack(utf8(JSON.stringify(input.values))));
    if (input.fit) found.set("fit", "1");
  }
  if (!isEmpty(whatIf)) found.set("w", await pack(utf8(JSON.stringify(whatIf))));
  return found.toString();
}

function picture(bytes: ArrayLike<number>, form: PictureInput): Picture {
  const { height, width, channels } = form;
  if (bytes.length !== height * width * channels) {
    throw new Error(`it contains ${bytes.length} numbers, but this model reads ${height} × ${width}${channels > 1 ? ` × ${channels}` : ""}`);
  }
  const at = (y: number, x: number, c: number): number => bytes[(y * width + x) * channels + c]!;
  return Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => (channels === 1 ? at(y, x, 0) : [0, 1, 2].map((c) => at(y, x, c)))),
  );
}

/** Returns what a link contains, or null for nothing. Throws an Error with the reason if it cannot be read. */
export async function fromHash(hash: string, model: Model): Promise<{ input: Input; whatIf: WhatIf } | null> {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const key = ["p", "j", "s", "t", "k"].find((name) => given.has(name));
  if (!key) {
    if (hash.includes("=")) throw new Error("it contains nothing that this page can read");
    return null;
  }
  const form = model.input;
  const kind = { s: "sequence", t: "text", k: "text" }[key] ?? "picture";
  if (form.kind !== kind) throw new Error("it was made for another kind of model");
  let bytes: Uint8Array;
  let whatIf: WhatIf = { blank: [], clamp: [], silence: [] };
  try {
    bytes = await unpack(given.get(key) ?? "");
    const changes = given.get("w");
    if (changes) whatIf = parseWhatIf(JSON.parse(words(await unpack(changes))));
  } catch (error) {
    // Decoders throw errors of their own, whose messages do not help a visitor.
    if (error instanceof Error && error.constructor === Error) throw error;
    throw new Error("it is damaged or cut off");
  }
  const input: Input = { values: null, fit: given.get("fit") === "1", source: "link", title: "image from a link" };
  if (form.kind === "text") {
    const values = key === "t" ? words(bytes) : (JSON.parse(words(bytes)) as unknown);
    const tokens = Array.isArray(values) && values.length > 0 && values.every((each) => typeof each === "string");
    if (typeof values !== "string" && !tokens) throw new Error("it contains something else than a text");
    return { input: { ...input, values: values as string | string[], fit: false, title: "text from a link" }, whatIf };
  }
  if (form.kind === "sequence") {
    return { input: { ...input, values: readTable(words(bytes), form), fit: false, title: "table from a link" }, whatIf };
  }
  const numbers = key === "p" ? bytes : (JSON.parse(words(bytes)) as number[][][]).flat(2);
  if (![...numbers].every((value) => typeof value === "number" && value >= 0 && value <= form.levels)) {
    throw new Error(`it contains numbers outside this model's range of 0 to ${form.levels}`);
  }
  return { input: { ...input, values: picture(numbers, form) }, whatIf };
}
