// The drawing: numbers from 0 to the model's full ink, at the resolution of the model's input.
import type { Picture } from "./types";

const MAX_UNDO = 60;

export class Sheet {
  cells: Float32Array;
  private past: { cells: Float32Array; note: unknown }[] = [];

  constructor(
    readonly height: number,
    readonly width: number,
    readonly levels: number,
  ) {
    this.cells = new Float32Array(height * width);
  }

  get isBlank(): boolean {
    return this.cells.every((value) => value === 0);
  }

  get canUndo(): boolean {
    return this.past.length > 0;
  }

  /** Saves the drawing before a change. note: returned by `undo`. */
  remember(note: unknown): void {
    this.past.push({ cells: this.cells.slice(), note });
    if (this.past.length > MAX_UNDO) this.past.shift();
  }

  undo(): unknown {
    const last = this.past.pop();
    if (last) this.cells = last.cells;
    return last?.note;
  }

  clear(): void {
    this.cells.fill(0);
  }

  load(picture: Picture): void {
    this.cells = Float32Array.from((picture as number[][]).flat());
  }

  get picture(): number[][] {
    const found: number[][] = [];
    for (let y = 0; y < this.height; y++) {
      // JavaScript numbers have more digits than a Float32Array: without rounding, 0.1 would be sent as 0.10000000149.
      found.push(Array.from(this.cells.subarray(y * this.width, (y + 1) * this.width), (v) => Number(v.toPrecision(7))));
    }
    return found;
  }

  /** Draws with a round, soft brush from one point to another, in cells; the first cell's centre is (0.5, 0.5). */
  stroke(x0: number, y0: number, x1: number, y1: number, radius: number, erase: boolean): void {
    const reach = radius + 1;
    const [left, right] = [Math.min(x0, x1) - reach, Math.max(x0, x1) + reach];
    const [top, bottom] = [Math.min(y0, y1) - reach, Math.max(y0, y1) + reach];
    const squared = (x1 - x0) ** 2 + (y1 - y0) ** 2;
    for (let y = Math.max(0, Math.floor(top)); y < Math.min(this.height, bottom); y++) {
      for (let x = Math.max(0, Math.floor(left)); x < Math.min(this.width, right); x++) {
        const [px, py] = [x + 0.5 - x0, y + 0.5 - y0];
        const along = squared ? Math.min(1, Math.max(0, (px * (x1 - x0) + py * (y1 - y0)) / squared)) : 0;
        const away = Math.hypot(px - along * (x1 - x0), py - along * (y1 - y0));
        this.cover(y * this.width + x, Math.min(1, Math.max(0, radius + 0.5 - away)), erase);
      }
    }
  }

  set(x: number, y: number, erase: boolean): void {
    this.cells[y * this.width + x] = erase ? 0 : this.levels;
  }

  private cover(at: number, opacity: number, erase: boolean): void {
    if (!opacity) return;
    // Strokes do not add up: drawing a line twice does not make it bolder.
    const ink = this.rounded((erase ? 1 - opacity : opacity) * this.levels);
    const old = this.cells[at]!;
    this.cells[at] = erase ? Math.min(old, ink) : Math.max(old, ink);
  }

  private rounded(value: number): number {
    const grain = this.levels >= 8 ? 1 : this.levels / 255;
    return Math.round(value / grain) * grain;
  }
}
