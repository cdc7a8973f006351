// Canvases at the resolution of the screen, whose size is known without a layout.
import { changed } from "./state";

export type Pen = CanvasRenderingContext2D;
export const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';

export interface Pane {
  canvas: HTMLCanvasElement;
  width: number;
  height: number;
  /** Clears the canvas. The units of the pen are CSS pixels. */
  begin: () => Pen;
}

const panes = new Map<Element, Pane>();

// Reading sizes while painting would force a layout in every frame; the observer reports changes.
const observer = new ResizeObserver((entries) => {
  for (const entry of entries) {
    const pane = panes.get(entry.target);
    if (pane) {
      pane.width = entry.contentRect.width;
      pane.height = entry.contentRect.height;
    }
  }
  changed("size");
});

export function pane(canvas: HTMLCanvasElement): Pane {
  const pen = canvas.getContext("2d")!;
  const found: Pane = {
    canvas,
    width: canvas.clientWidth,
    height: canvas.clientHeight,
    begin: () => {
      const ratio = Math.min(window.devicePixelRatio || 1, 3);
      const width = Math.max(1, Math.round(found.width * ratio));
      const height = Math.max(1, Math.round(found.height * ratio));
      if (canvas.width !== width || canvas.height !== height) {
        canvas.width = width;
        canvas.height = height;
      }
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, found.width, found.height);
      return pen;
    },
  };
  panes.set(canvas, found);
  observer.observe(canvas);
  return found;
}

/** An image of one pixel per value, to be drawn at any size. The canvas is reused. */
export class Raster {
  private readonly canvas = document.createElement("canvas");
  private readonly pen = this.canvas.getContext("2d")!;
  private image = this.pen.createImageData(1, 1);
  pixels = new Uint32Array(this.image.data.buffer);

  size(width: number, height: number): Uint32Array {
    if (this.canvas.width !== width || this.canvas.height !== height || this.image.width !== width) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.image = this.pen.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    return this.pixels;
  }

  done(): void {
    this.pen.putImageData(this.image, 0, 0);
  }

  draw(pen: Pen, x: number, y: number, width: number, height: number): void {
    // Enlarged, each value is a sharp cell; reduced, neighbours are averaged and none is dropped.
    pen.imageSmoothingEnabled = this.canvas.width > width * 1.5 || this.canvas.height > height * 1.5;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(this.canvas, x, y, width, height);
  }

  url(): string {
    return this.canvas.toDataURL();
  }
}

/** Slanting lines over rectangles, each [x, y, width, height]: blank steps. */
export function hatch(pen: Pen, areas: [number, number, number, number][], width: number, height: number, colour: string): void {
  if (!areas.length) return;
  pen.save();
  pen.beginPath();
  for (const area of areas) pen.rect(...area);
  pen.clip();
  // The lines run across the whole canvas, so that adjacent blank steps join.
  pen.beginPath();
  for (let at = -height; at < width; at += 6) {
    pen.moveTo(at, height);
    pen.lineTo(at + height, 0);
  }
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.stroke();
  pen.restore();
}

export function write(
  pen: Pen,
  words: string,
  x: number,
  y: number,
  colour: string,
  size = 12,
  align: CanvasTextAlign = "left",
  weight = 400,
): void {
  pen.font = `${weight} ${size}px ${FONT}`;
  pen.textAlign = align;
  pen.textBaseline = "middle";
  pen.fillStyle = colour;
  pen.fillText(words, x, y);
}
