// Save and share: link, image, JSON, command.
import { command } from "./curl";
import { get, make, text } from "./dom";
import { hashOf } from "./link";
import { compose } from "./png";
import { showError } from "./errors";
import { model, panel, shown, state } from "./state";
import { className } from "./format";

let later = 0;

function showStatus(words: string): void {
  text(get("save-status"), words);
  clearTimeout(later);
  later = window.setTimeout(() => text(get("save-status"), ""), 6000);
}

function stem(): string {
  const now = shown();
  const label = now ? className(model(), now.prediction.label) : "";
  return `scanline-${model().name}-${label}`.replace(/[^\w.-]+/g, "-");
}

function save(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  const anchor = make("a", { href: url, download: name });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  window.setTimeout(() => URL.revokeObjectURL(url), 10_000);
  showStatus(`Saved as ${name}`);
}

async function copy(words: string, done: string, otherwise: string): Promise<void> {
  try {
    // Pages loaded neither over TLS nor from this machine have no clipboard.
    await navigator.clipboard.writeText(words);
    showStatus(done);
  } catch {
    showStatus(otherwise);
  }
}

export function startSave(): void {
  get("copy-link").addEventListener("click", async () => {
    const result = state.plain;
    if (!result) return;
    const hash = await hashOf(result.input, state.whatIf, model());
    history.replaceState(null, "", `#${hash}`);
    await copy(location.href, "Link copied", "The link is in the address bar");
  });
  get("download-json").addEventListener("click", () => {
    const result = shown();
    if (!result) return;
    const whole = { schema: 1, request: result.request, answer: result.response };
    save(new Blob([JSON.stringify(whole)], { type: "application/json" }), `${stem()}.json`);
  });
  get("download-png").addEventListener("click", () => {
    if (!shown()) return;
    compose().toBlob((blob) => (blob ? save(blob, `${stem()}.png`) : showError("the image could not be created")), "image/png");
  });
  get("copy-curl").addEventListener("click", () =>
    copy(get("curl").textContent ?? "", "Command copied", "Select the command below and copy it"),
  );
  let timer = 0;
  panel(["prediction"], () => {
    for (const id of ["copy-link", "download-json", "download-png", "copy-curl"]) {
      get<HTMLButtonElement>(id).disabled = !shown();
    }
    // Delayed while somebody draws: the layout of this text takes longer than all maps.
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      const result = shown();
      get("again").hidden = !result;
      text(get("curl"), result ? command(result, `${stem()}.json`) : "");
    }, 150);
  });
}
