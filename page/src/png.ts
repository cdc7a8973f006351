// One image of the whole page, on a light background, for download.
import { Raster, write } from "./canvas";
import { drawChart } from "./curves";
import { make } from "./dom";
import { colourIn, drawLegend, scaleOf } from "./heat";
import { currentOrder } from "./maps";
import { drawPicture, drawSteps } from "./inputplot";
import { drawTokens, tokensOf } from "./tokens";
import { layerOf, model, partOf, shown, state, steps, stepsRead } from "./state";
import { LIGHT } from "./theme";
import type { Pen } from "./canvas";
import type { Model, Picture, Steps, Trace } from "./types";
import { summary } from "./prediction";
import { capital, className, isGate, layerName, partName, percent, place, plural, runs } from "./format";

const WIDTH = 1200;
const EDGE = 40;
const MAX_WRITTEN = 10; // classes of an ensemble
const SHARP = 2; // pixels per unit of length

function changes(): string {
  const given = model();
  const { blank, clamp, silence } = state.whatIf;
  const words = [
    blank.length ? `${plural(given.input.unit)} ${runs(blank)} blank` : "",
    ...clamp.map((each) => `${partName(given, each.gate)} clamped to ${each.value}${place(given, each)}`),
    ...silence.map((each) => `unit ${each.unit} silenced${place(given, each)}`),
  ].filter(Boolean);
  return state.altered && words.length ? `What if: ${words.join("; ")}` : "";
}

/** Writes the most likely classes, the first one in bold. */
function writeProbabilities(pen: Pen, trace: Trace, given: Model): void {
  const row = trace.probabilities[0]!;
  const order = row.map((_, k) => k).sort((a, b) => row[b]! - row[a]!);
  order.slice(0, MAX_WRITTEN).forEach((k, place) => {
    const y = 14 + 25 * place;
    const weight = place ? 400 : 650;
    write(pen, className(given, trace.classes[k]!), 42, y, LIGHT.ink, 15, "left", weight);
    write(pen, percent(row[k]!), 320, y, LIGHT.ink, 15, "right", weight);
  });
}

export function compose(): HTMLCanvasElement {
  const result = shown()!;
  const given = model();
  const { input, network } = given;
  const parts = network?.parts ?? [];
  const { probability, trace, seen } = result.prediction;
  const label = className(given, result.prediction.label);
  const before = state.altered ? state.plain!.prediction : null;
  const columns = Math.max(1, Math.min(3, parts.length));
  const rows = Math.ceil(parts.length / columns);
  const mapHeight = 230;
  const height = 530 + rows * (mapHeight + 76);
  const canvas = make("canvas", { width: WIDTH * SHARP, height: height * SHARP });
  const pen = canvas.getContext("2d")!;
  pen.scale(SHARP, SHARP);
  pen.fillStyle = LIGHT.paper;
  pen.fillRect(0, 0, WIDTH, height);

  write(pen, label, EDGE, 62, LIGHT.ink, 56, "left", 650);
  const after = EDGE + pen.measureText(label).width + 18;
  write(pen, percent(probability), after, 52, LIGHT.ink, 20, "left", 600);
  const was = before ? `without the what-ifs: ${className(given, before.label)}, ${percent(before.probability)}` : result.input.title;
  write(pen, was, after, 78, LIGHT.quiet, 15);
  write(pen, summary(trace, input.unit), EDGE, 118, LIGHT.ink, 15);
  write(pen, changes(), EDGE, 142, LIGHT.series[1]!, 15);

  const top = 168;
  const tall = 260;
  const aspect = input.kind === "picture" ? input.width / input.height : 1.5;
  const wide = Math.min(420, tall * aspect);
  pen.save();
  pen.translate(EDGE, top);
  const blank = result.request.what_if?.blank ?? [];
  if (input.kind === "picture") drawPicture(pen, wide, Math.min(tall, wide / aspect), seen as Picture, input, network ? steps() : stepsRead(), blank);
  else if (input.kind === "text") drawTokens(pen, wide, tall, tokensOf(result), result.prediction.attribution?.values ?? null, input.tokens, LIGHT);
  else drawSteps(pen, wide, tall, seen as Steps, network ? steps() : stepsRead(), blank, input.names ?? null, LIGHT);
  pen.restore();
  write(pen, "Network input", EDGE, top + tall + 18, LIGHT.quiet, 13);
  pen.save();
  pen.translate(EDGE + wide + 30, top - 8);
  if (network) drawChart(pen, WIDTH - 2 * EDGE - wide - 30, tall + 20, trace, before?.trace ?? null, null, input.unit, LIGHT);
  else writeProbabilities(pen, trace, given);
  pen.restore();
  write(pen, network ? "Class probabilities after each step" : "Class probabilities", EDGE + wide + 72, top + tall + 30, LIGHT.quiet, 13);

  const room = (WIDTH - 2 * EDGE - (columns - 1) * 30) / columns;
  const layer = layerOf(result);
  if (network && layer) write(pen, `${capital(layerName(given, layer))}: ${network.hidden_size} units (rows), ${steps()} ${plural(input.unit)} (columns)`, EDGE, top + tall + 62, LIGHT.quiet, 13);
  parts.forEach((part, at) => {
    const x = EDGE + (at % columns) * (room + 30);
    const y = top + tall + 100 + Math.floor(at / columns) * (mapHeight + 70);
    const values = partOf(result, part);
    const gate = isGate(given, part);
    const scale = gate ? { size: 1, cut: false } : scaleOf(values);
    const raster = new Raster();
    colourIn(raster, values, currentOrder(), gate, scale, LIGHT);
    write(pen, capital(partName(given, part)), x, y - 12, LIGHT.ink, 14, "left", 600);
    raster.draw(pen, x, y, room, mapHeight);
    pen.strokeStyle = LIGHT.line;
    pen.lineWidth = 1;
    pen.strokeRect(x + 0.5, y + 0.5, room - 1, mapHeight - 1);
    drawLegend(pen, x, y + mapHeight + 8, 150, gate, scale, LIGHT);
  });
  write(pen, `${given.name}, model ${result.response.model}, Scanline ${given.version}`, WIDTH - EDGE, height - 22, LIGHT.quiet, 13, "right");
  return canvas;
}
