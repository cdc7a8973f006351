// Files: chosen, dropped, or pasted. A picture goes to the server as it is; a table goes into the field.
import { get, text } from "./dom";
import { choose } from "./inputs";
import { fillPaste } from "./paste";
import { tellProblem } from "./problem";
import { model } from "./state";

const TYPES: Record<string, string> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  pgm: "image/x-portable-graymap",
  ppm: "image/x-portable-pixmap",
  bmp: "image/bmp",
  tif: "image/tiff",
  tiff: "image/tiff",
  webp: "image/webp",
};

async function take(file: File): Promise<void> {
  if (model().input.kind === "sequence") {
    if (file.size > 4_000_000) tellProblem(`${file.name} is too large for this field; send it with the command below`);
    else fillPaste(await file.text());
    return;
  }
  const ending = file.name.split(".").pop()?.toLowerCase() ?? "";
  // Systems that do not know a kind of file leave its type empty, or say something general.
  const type = file.type.startsWith("image/") ? file.type : TYPES[ending];
  if (!type) {
    tellProblem(`${file.name || "that"} is no picture: expected a PNG, JPEG, PGM, PPM, BMP, TIFF or WebP file`);
    return;
  }
  choose({ values: null, file: { content: file, type }, fit: false, source: "file", title: file.name || "the pasted picture" });
}

export function startUpload(): void {
  const field = get<HTMLInputElement>("upload");
  const isPicture = model().input.kind === "picture";
  field.accept = isPicture ? `image/*,${Object.keys(TYPES).map((ending) => `.${ending}`).join(",")}` : ".csv,.tsv,.txt,text/*";
  if (!isPicture) {
    text(get("upload-label"), "Or a file with such a table");
    text(get("upload-help"), "Choose it, or drop it anywhere on the page.");
  } else if (model().input.kind === "picture") {
    text(get("upload-label"), get("drawing").hidden ? "A picture of yours" : "Or a picture of yours");
  }
  field.addEventListener("change", () => {
    const file = field.files?.[0];
    if (file) void take(file);
    field.value = ""; // so that the same file can be chosen again
  });
  const { classList } = document.body;
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    classList.remove("dropping");
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault();
    void take(file);
  });
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) => !isPicture || each.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    void take(file);
  });
}
