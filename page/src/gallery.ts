// Test sequences to look at, the hardest first.
import { getGallery } from "./api";
import { Raster } from "./canvas";
import { get, make, options, text } from "./dom";
import { choose } from "./inputs";
import { autoplay } from "./player";
import { model, panel, state } from "./state";
import { pack } from "./theme";
import type { GalleryItem, Input, Picture, PictureInput, Steps, Tokens } from "./types";
import { className, percent } from "./format";
import { joined } from "./tokens";

let items: GalleryItem[] = [];
let data = "";

const inputOf = (item: GalleryItem, example: boolean): Input => ({
  values: item.values,
  fit: false,
  source: "gallery",
  title: `${data}, test ${item.index}`,
  truth: item.true,
  example,
});

/** Shows the first one to a visitor who has not chosen an input yet. */
export function showExample(): boolean {
  if (!items[0]) return false;
  playWhenReady();
  choose(inputOf(items[0], true));
  return true;
}

/** Plays the steps as soon as the prediction has arrived. */
function playWhenReady(): void {
  const before = document.body.dataset.predictions;
  const look = new MutationObserver(() => {
    if (document.body.dataset.predictions === before) return;
    look.disconnect();
    autoplay();
  });
  look.observe(document.body, { attributes: true, attributeFilter: ["data-predictions"] });
}

/** An image of one pixel per value; lines for other sequences, in a colour that suits both schemes. */
function thumbnail(item: GalleryItem): HTMLElement {
  const input = model().input;
  if (input.kind === "text") return make("span", { class: "snippet" }, joined(item.values as string | Tokens, input.tokens));
  const url = input.kind === "picture" ? picture(item.values as Picture, input) : lines(item.values as Steps);
  return make("img", { src: url, alt: "", class: input.kind, width: input.kind === "picture" ? 48 : 72, height: 48 });
}

const raster = new Raster();

function picture(values: Picture, form: PictureInput): string {
  const pixels = raster.size(form.width, form.height);
  values.forEach((row, y) =>
    row.forEach((cell, x) => {
      const part = (c: number): number => Math.round(((typeof cell === "number" ? cell : cell[c]!) / form.levels) * 255);
      pixels[y * form.width + x] = pack(part(0), part(1), part(2));
    }),
  );
  raster.done();
  return raster.url();
}

function lines(values: Steps): string {
  const canvas = make("canvas", { width: 144, height: 96 });
  const pen = canvas.getContext("2d")!;
  const all = values.flat().filter((value) => typeof value === "number");
  const [low, high] = [Math.min(...all), Math.max(...all)];
  pen.strokeStyle = "#5a8fc7";
  pen.lineWidth = 1.5;
  for (let f = 0; f < (values[0]?.length ?? 0); f++) {
    pen.beginPath();
    values.forEach((row, t) => {
      const value = row[f] ?? null;
      if (typeof value === "number") pen.lineTo(4 + (t / Math.max(1, values.length - 1)) * 136, 4 + 88 * (1 - (value - low) / (high - low || 1)));
    });
    pen.stroke();
  }
  return canvas.toDataURL();
}

export async function startGallery(): Promise<void> {
  const part = get("gallery-part");
  try {
    ({ items, data } = await getGallery());
    data = data.replace(/^.*[\\/](?=.)/, ""); // the last part of a path
  } catch {
    items = []; // the rest of the page works without examples
  }
  part.hidden = !items.length;
  if (!items.length) return;
  const list = get("gallery");
  list.dataset.kind = model().input.kind;
  const filter = get<HTMLSelectElement>("gallery-filter");
  const classes = model().classes.filter((name) => items.some((item) => item.true === name));
  options(filter, [["all", "all"], ["wrong", "errors only"], ...classes.map((name, at): [string, string] => [`class ${at}`, `class ${className(model(), name)}`])]);

  const entries = items.map((item) => {
    const answered = `predicted ${className(model(), item.label)}, ${percent(item.probability)}`;
    const button = make(
      "button",
      { type: "button", tabindex: -1, class: item.right ? "right" : "wrong", title: `test ${item.index}: ${item.true}, ${answered}` },
      thumbnail(item),
      make("span", {}, item.right ? className(model(), item.true) : `${className(model(), item.true)} → ${className(model(), item.label)}`),
      make("span", { class: "hidden-text" }, `, ${answered}`),
    );
    button.addEventListener("click", (event) => {
      const before = document.querySelector("#gallery [aria-current]");
      before?.removeAttribute("aria-current");
      button.setAttribute("aria-current", "true");
      playWhenReady();
      choose(inputOf(item, false), event.timeStamp);
    });
    return { item, button, row: make("li", {}, button) };
  });
  list.replaceChildren(...entries.map((entry) => entry.row));

  const shownButtons = (): HTMLButtonElement[] => entries.filter((entry) => !entry.row.hidden).map((entry) => entry.button);
  // One tab stop for the list, arrow keys within it: sixty tab stops would be in the way.
  const stop = (button: HTMLButtonElement | undefined): void => {
    for (const entry of entries) entry.button.tabIndex = entry.button === button ? 0 : -1;
  };
  list.addEventListener("keydown", (event) => {
    const buttons = shownButtons();
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const first = buttons[0];
    if (at < 0 || !first) return;
    const columns = Math.max(1, buttons.filter((button) => button.offsetTop === first.offsetTop).length);
    const to: Record<string, number> = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at - columns,
      ArrowDown: at + columns,
      Home: 0,
      End: buttons.length - 1,
    };
    const next = buttons[to[event.key] ?? -1];
    if (to[event.key] !== undefined) event.preventDefault();
    if (!next) return;
    stop(next);
    next.focus();
  });
  list.addEventListener("focusin", (event) => stop((event.target as Element).closest("button") ?? undefined));

  const apply = (): void => {
    const wanted = filter.value;
    const truth = wanted.startsWith("class ") ? classes[Number(wanted.slice(6))] : undefined;
    for (const { item, row } of entries) {
      row.hidden = wanted === "wrong" ? item.right : truth !== undefined && item.true !== truth;
    }
    const left = shownButtons();
    stop(left[0]);
    list.scrollTop = 0;
    text(get("gallery-note"), left.length ? `${left.length} of ${data}, hardest first.` : "No errors among these.");
  };
  panel(["input"], () => {
    if (state.input?.source !== "gallery") list.querySelector("[aria-current]")?.removeAttribute("aria-current");
  });
  filter.addEventListener("change", apply);
  apply();
}
