// The drawing board: by mouse, finger, pen and keyboard.
import { setDrawing } from "./requests";
import { pane, Raster } from "./canvas";
import { announce, get, text } from "./dom";
import { choose, clearInput } from "./inputs";
import { goTo } from "./player";
import { changed, panel, state } from "./state";
import { Sheet } from "./sheet";
import { pack } from "./theme";
import type { Input, PictureInput } from "./types";

/** Sets up the drawing board. */
export function startBoard(form: PictureInput): void {
  const sheet = new Sheet(form.height, form.width, form.levels);
  const board = get("board");
  const brush = get<HTMLInputElement>("brush");
  const eraser = get<HTMLButtonElement>("eraser");
  const fit = get<HTMLInputElement>("fit");
  const view = pane(get<HTMLCanvasElement>("board-canvas"));
  const raster = new Raster();
  const cursor = { x: form.width >> 1, y: form.height >> 1 };
  const largest = Math.max(form.height, form.width);
  let last: { x: number; y: number } | null = null;
  let own: Input | null = null;

  board.style.aspectRatio = `${form.width} / ${form.height}`;
  Object.assign(brush, { min: "1", max: String(Math.max(3, Math.round(largest / 4))), step: "0.5" });
  brush.value = String(Math.max(1.5, Math.round(largest * 0.18) / 2));
  fit.checked = form.fit === "ink";
  get("fit-line").hidden = form.fit !== "ink";

  /** Makes the sheet the input. */
  function send(at: number): void {
    own = sheet.isBlank
      ? null
      : { values: sheet.picture, fit: fit.checked && form.fit === "ink", source: "board", title: "your drawing" };
    choose(own, at);
    changed("input");
  }

  function begin(): void {
    sheet.remember({ fit: fit.checked });
    if (state.input?.example) {
      goTo(Infinity); // a drawing is shown with all steps read
      sheet.clear();
      fit.checked = form.fit === "ink";
    }
  }

  const at = (event: PointerEvent): { x: number; y: number } => {
    const box = board.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * form.width,
      y: ((event.clientY - box.top) / box.height) * form.height,
    };
  };

  function draw(event: PointerEvent): void {
    const erase = eraser.ariaPressed === "true" || (event.buttons & 34) !== 0; // right button, or a pen's other end
    // Only pens report a meaningful pressure; a mouse always reports 0.5.
    const weight = event.pointerType === "pen" && event.pressure ? 0.5 + event.pressure : 1;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) {
      const next = at(move);
      const from = last ?? next;
      sheet.stroke(from.x, from.y, next.x, next.y, (Number(brush.value) / 2) * weight, erase);
      last = next;
    }
    send(event.timeStamp);
  }

  board.addEventListener("pointerdown", (event) => {
    if (event.button > 2 || event.button === 1) return;
    board.setPointerCapture(event.pointerId);
    setDrawing(true);
    begin();
    last = null;
    draw(event);
  });
  board.addEventListener("pointermove", (event) => {
    if (last) draw(event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    board.addEventListener(end, () => {
      last = null;
      setDrawing(false);
    });
  }
  board.addEventListener("contextmenu", (event) => event.preventDefault());

  function where(words = ""): void {
    text(get("board-where"), `Row ${cursor.y + 1}, column ${cursor.x + 1}.`);
    const ink = sheet.cells[cursor.y * form.width + cursor.x]! > 0 ? "ink" : "empty";
    announce(`Row ${cursor.y + 1}, column ${cursor.x + 1}: ${words || ink}`, 250);
    changed("input");
  }

  function mark(erase: boolean, time: number): void {
    begin();
    const radius = Number(brush.value) / 2;
    if (radius <= 0.5) sheet.set(cursor.x, cursor.y, erase);
    else sheet.stroke(cursor.x + 0.5, cursor.y + 0.5, cursor.x + 0.5, cursor.y + 0.5, radius, erase);
    send(time);
    where(erase ? "erased" : "painted");
  }

  function clear(time: number): void {
    if (!sheet.isBlank) sheet.remember({ fit: fit.checked });
    sheet.clear();
    fit.checked = form.fit === "ink";
    clearInput(time);
    announce("Board cleared");
    changed("input");
  }

  function undo(time: number): void {
    if (!sheet.canUndo) return;
    const note = sheet.undo() as { fit: boolean } | undefined;
    if (note) fit.checked = note.fit;
    send(time);
    announce("Undone");
  }

  const moves: Record<string, [number, number]> = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, -1],
    ArrowDown: [0, 1],
  };
  board.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    const command = event.ctrlKey || event.metaKey;
    if (move && !command) {
      cursor.x = Math.min(form.width - 1, Math.max(0, cursor.x + move[0]));
      cursor.y = Math.min(form.height - 1, Math.max(0, cursor.y + move[1]));
      where();
    } else if (event.key === " ") mark(event.shiftKey, event.timeStamp);
    else if (event.key === "Delete" || event.key === "Backspace") mark(true, event.timeStamp);
    else if (event.key.toLowerCase() === "z" && command) undo(event.timeStamp);
    else if (event.key.toLowerCase() === "c" && !command) clear(event.timeStamp);
    else return;
    event.preventDefault();
  });
  for (const type of ["focus", "blur"]) board.addEventListener(type, () => changed("input"));

  eraser.addEventListener("click", () => {
    eraser.ariaPressed = String(eraser.ariaPressed !== "true");
  });
  get("clear").addEventListener("click", (event) => clear(event.timeStamp));
  get("undo").addEventListener("click", (event) => undo(event.timeStamp));
  fit.addEventListener("change", (event) => {
    if (state.input?.values) choose({ ...state.input, fit: fit.checked }, event.timeStamp);
  });

  panel(["input", "theme", "size"], () => {
    const input = state.input;
    if (input && input.values && input.values !== own?.values && input.source !== "board") {
      if (!sheet.isBlank) sheet.remember({ fit: fit.checked });
      sheet.load(input.values as number[][]);
      fit.checked = input.fit;
      own = input;
    }
    get<HTMLButtonElement>("undo").disabled = !sheet.canUndo;
    const pixels = raster.size(form.width, form.height);
    for (let n = 0; n < pixels.length; n++) {
      const light = Math.round((sheet.cells[n]! / form.levels) * 255);
      pixels[n] = pack(light, light, light);
    }
    raster.done();
    const pen = view.begin();
    raster.draw(pen, 0, 0, view.width, view.height);
    if (document.activeElement !== board || !board.matches(":focus-visible")) return;
    const [w, h] = [view.width / form.width, view.height / form.height];
    pen.lineWidth = 3;
    pen.strokeStyle = "#000";
    pen.strokeRect(cursor.x * w, cursor.y * h, w, h);
    pen.lineWidth = 1.5;
    pen.strokeStyle = "#7db8f0";
    pen.strokeRect(cursor.x * w, cursor.y * h, w, h);
  });
}
