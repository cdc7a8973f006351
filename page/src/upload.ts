// Files that are chosen, dropped or pasted. An image is sent to the server as it is; a table is put in the field.
import { get, text } from "./dom";
import { choose } from "./inputs";
import { fillPaste } from "./paste";
import { showError } from "./errors";
import { model } from "./state";
import { fillText } from "./writing";

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
  const { kind } = model().input;
  if (kind !== "picture") {
    if (file.size > 4_000_000) showError(`${file.name} is too large for this page; send it to the API instead`);
    else if (kind === "text") fillText(await file.text(), file.name);
    else fillPaste(await file.text());
    return;
  }
  const ending = file.name.split(".").pop()?.toLowerCase() ?? "";
  // Systems that do not know a file type leave it empty or report a generic one.
  const type = file.type.startsWith("image/") ? file.type : TYPES[ending];
  if (!type) {
    showError(`${file.name || "The file"} is not an image: expected a PNG, JPEG, PGM, PPM, BMP, TIFF or WebP file`);
    return;
  }
  choose({ values: null, file: { content: file, type }, fit: false, source: "file", title: file.name || "pasted image" });
}

export function startUpload(): void {
  const field = get<HTMLInputElement>("upload");
  const isPicture = model().input.kind === "picture";
  field.accept = isPicture ? `image/*,${Object.keys(TYPES).map((ending) => `.${ending}`).join(",")}` : ".csv,.tsv,.txt,text/*";
  if (!isPicture) {
    text(get("upload-label"), model().input.kind === "text" ? "Or upload a text" : "Or upload a table");
    text(get("upload-help"), "Choose a file, or drop it anywhere on the page.");
  } else if (model().input.kind === "picture") {
    text(get("upload-label"), get("drawing").hidden ? "Upload an image" : "Or upload an image");
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
