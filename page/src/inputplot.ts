// Draws the network input: an image, or features as lines; steps that are not read yet are faded.
import { hatch, Raster, write } from "./canvas";
import type { Pen } from "./canvas";
import { pack } from "./theme";
import type { Theme } from "./theme";
import type { Picture, PictureInput, Steps } from "./types";

const HATCH = "#f0a35a";
const raster = new Raster();

/** step: the current step; blank: steps that are blank. */
export function drawPicture(
  pen: Pen,
  width: number,
  height: number,
  picture: Picture,
  form: PictureInput,
  step: number,
  blank: number[],
): void {
  const pixels = raster.size(form.width, form.height);
  const left = new Set(blank);
  const areas: [number, number, number, number][] = [];
  const [w, h] = [width / form.width, height / form.height];
  const single = [0, 0, 0];
  for (let y = 0; y < form.height; y++) {
    for (let x = 0; x < form.width; x++) {
      const cell = picture[y]![x]!;
      const colours = typeof cell === "number" ? (single.fill(cell), single) : cell;
      const when = form.step_of_pixel[y]![x]!;
      const isBlank = left.has(when);
      if (isBlank) areas.push([x * w, y * h, w + 0.5, h + 0.5]);
      // Not read yet: faded, tinted grey. Current step: tinted blue. Read: unchanged.
      const fraction = isBlank ? 0.25 : when > step ? 0.3 : when === step && step < form.steps ? 0.8 : 1;
      const tint = when > step ? [38, 42, 50] : when === step && step < form.steps ? [22, 52, 92] : [0, 0, 0];
      const mix = (c: 0 | 1 | 2): number =>
        Math.min(255, Math.round((colours[c]! / form.levels) * 255 * fraction + tint[c]!));
      pixels[y * form.width + x] = pack(mix(0), mix(1), mix(2));
    }
  }
  raster.done();
  raster.draw(pen, 0, 0, width, height);
  hatch(pen, areas, width, height, HATCH);
}

const DASHES = [[], [5, 3], [1.5, 3]];

/** Draws features (T, F) as lines over the steps, or as a heat map if there are too many to distinguish. */
export function drawSteps(
  pen: Pen,
  width: number,
  height: number,
  values: Steps,
  step: number,
  blank: number[],
  names: string[] | null,
  colours: Theme,
): void {
  const count = values.length;
  const features = values[0]?.length ?? 0;
  let [low, high] = [Infinity, -Infinity];
  for (const row of values) for (const v of row) if (typeof v === "number") [low, high] = [Math.min(low, v), Math.max(high, v)];
  if (!(low < high)) [low, high] = [low - 1 || 0, low + 1 || 1];
  const x = (t: number): number => ((t + 0.5) / count) * width;
  const y = (v: number): number => 6 + (height - 12) * (1 - (v - low) / (high - low));
  const lines = (): void => {
    for (let f = 0; f < features; f++) {
      pen.beginPath();
      let open = false;
      values.forEach((row, t) => {
        const v = row[f]!;
        if (typeof v !== "number") open = false;
        else if (open) pen.lineTo(x(t), y(v));
        else (pen.moveTo(x(t), y(v)), (open = true));
        if (typeof v === "number" && (count === 1 || (!open && values[t + 1]?.[f] === null))) pen.arc(x(t), y(v), 2, 0, 7);
      });
      pen.strokeStyle = colours.series[f % 4]!;
      pen.setLineDash(DASHES[Math.floor(f / 4) % 3]!);
      pen.lineWidth = features > 6 ? 1.3 : 1.8;
      pen.stroke();
    }
    pen.setLineDash([]);
  };
  const heat = (): void => {
    const pixels = raster.size(count, features);
    values.forEach((row, t) => {
      row.forEach((v, f) => {
        pixels[f * count + t] = typeof v !== "number" ? 0 : colours.gate[Math.round(((v - low) / (high - low)) * 255)]!;
      });
    });
    raster.done();
    raster.draw(pen, 0, 0, width, height);
  };
  const draw = features > 24 ? heat : lines;
  const read = Math.min(1, step / count) * width;
  pen.fillStyle = colours.block;
  pen.fillRect(0, 0, width, height);
  pen.globalAlpha = 0.28;
  draw();
  pen.globalAlpha = 1;
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, step < count ? x(step - 1) + 1 : read, height);
  pen.clip();
  draw();
  pen.restore();
  hatch(pen, blank.map((s) => [((s - 1) / count) * width, 0, width / count, height]), width, height, HATCH);
  if (step < count) {
    pen.fillStyle = colours.accent;
    pen.fillRect(x(step - 1) - 1, 0, 2, height);
  }
  write(pen, high.toPrecision(3).replace("-", "−"), 4, 9, colours.quiet, 11);
  write(pen, low.toPrecision(3).replace("-", "−"), 4, height - 9, colours.quiet, 11);
  if (names && features <= 6) {
    names.forEach((name, f) => write(pen, name, width - 4, 10 + 14 * f, colours.series[f % 4]!, 11, "right", 600));
  }
}
