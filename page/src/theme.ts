// Colours for canvases: those of the style sheet, and two colour scales.
//
// Both scales start at the background colour, so that low activity fades in either scheme. Blue and orange, and one
// teal from light to dark, can be distinguished with colour vision deficiencies, by lightness alone.
import { changed } from "./state";

type Rgb = [number, number, number];

export interface Theme {
  dark: boolean;
  paper: string;
  ink: string;
  quiet: string;
  line: string;
  block: string;
  accent: string;
  /** Colours of lines, the most important first. */
  series: string[];
  /** 256 packed colours: 0..1, and -1..1. */
  gate: Uint32Array;
  signed: Uint32Array;
}

const GATE: Record<"light" | "dark", Rgb[]> = {
  light: [[244, 246, 247], [176, 216, 208], [92, 173, 162], [26, 116, 112], [8, 58, 64]],
  dark: [[27, 31, 37], [24, 66, 70], [30, 112, 110], [76, 176, 160], [214, 246, 230]],
};
const SIGNED: Record<"light" | "dark", Rgb[]> = {
  light: [[122, 56, 4], [205, 112, 26], [240, 186, 128], [244, 245, 246], [148, 192, 230], [52, 120, 190], [14, 58, 116]],
  dark: [[255, 206, 150], [226, 138, 52], [120, 68, 24], [27, 31, 37], [26, 72, 120], [70, 146, 216], [186, 222, 255]],
};
const SERIES = {
  light: ["#1f66ac", "#b4560c", "#1a7470", "#7a4fa3"],
  dark: ["#7db8f0", "#f0a35a", "#5cc3b0", "#c4a2e8"],
};

/** bend: below 1, small values differ more in colour, at the cost of large ones. */
function ramp(stops: Rgb[], bend = 1): Uint32Array {
  const found = new Uint32Array(256);
  for (let at = 0; at < 256; at++) {
    const off = (at / 255) * 2 - 1;
    const bent = bend === 1 ? at / 255 : (1 + Math.sign(off) * Math.abs(off) ** bend) / 2;
    const where = bent * (stops.length - 1);
    const low = Math.min(Math.floor(where), stops.length - 2);
    const fraction = where - low;
    const mix = (c: 0 | 1 | 2): number => Math.round(stops[low]![c] * (1 - fraction) + stops[low + 1]![c] * fraction);
    found[at] = pack(mix(0), mix(1), mix(2));
  }
  return found;
}

/** Packs a colour for ImageData, assuming a little-endian machine, as all that run browsers today are. */
export const pack = (red: number, green: number, blue: number): number =>
  ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

function made(dark: boolean, page: Record<string, string>): Theme {
  const key = dark ? "dark" : "light";
  const pick = (name: string, fallback: string): string => page[name] || fallback;
  return {
    dark,
    paper: pick("paper", "#ffffff"),
    ink: pick("ink", "#1b1e23"),
    quiet: pick("quiet", "#565c66"),
    line: pick("line", "#d9dce1"),
    block: pick("block", "#f4f6f8"),
    accent: pick("accent", "#1f66ac"),
    series: SERIES[key],
    gate: ramp(GATE[key]),
    signed: ramp(SIGNED[key], 0.62),
  };
}

/** For downloaded images, which have a light background. */
export const LIGHT = made(false, {});

export let theme: Theme = LIGHT;

export function startTheme(): void {
  const query = matchMedia("(prefers-color-scheme: dark)");
  const read = (): void => {
    const style = getComputedStyle(document.documentElement);
    const names = ["paper", "ink", "quiet", "line", "block", "accent"];
    theme = made(query.matches, Object.fromEntries(names.map((n) => [n, style.getPropertyValue(`--${n}`).trim()])));
    changed("theme");
  };
  query.addEventListener("change", read);
  read();
}
