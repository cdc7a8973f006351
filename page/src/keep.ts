// Taking it along: link, picture, JSON, command.
import { command } from "./curl";
import { get, make, text } from "./dom";
import { hashOf } from "./link";
import { compose } from "./png";
import { tellProblem } from "./problem";
import { model, panel, shown, state } from "./state";

let later = 0;

function say(words: string): void {
  text(get("keep-said"), words);
  clearTimeout(later);
  later = window.setTimeout(() => text(get("keep-said"), ""), 6000);
}

function stem(): string {
  const label = shown()?.prediction.label ?? "";
  return `scanline-${model().name}-${label}`.replace(/[^\w.-]+/g, "-");
}

function save(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  const anchor = make("a", { href: url, download: name });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  window.setTimeout(() => URL.revokeObjectURL(url), 10_000);
  say(`Saved as ${name}`);
}

async function copy(words: string, done: string, otherwise: string): Promise<void> {
  try {
    // Pages that did not come over TLS, nor from this machine, have no clipboard.
    await navigator.clipboard.writeText(words);
    say(done);
  } catch {
    say(otherwise);
  }
}

export function startKeep(): void {
  get("copy-link").addEventListener("click", async () => {
    const answer = state.plain;
    if (!answer) return;
    const hash = await hashOf(answer.input, state.whatIf, model());
    history.replaceState(null, "", `#${hash}`);
    await copy(location.href, "Link copied", "The link stands in the address bar");
  });
  get("download-json").addEventListener("click", () => {
    const answer = shown();
    if (!answer) return;
    const whole = { schema: 1, request: answer.request, answer: answer.response };
    save(new Blob([JSON.stringify(whole)], { type: "application/json" }), `${stem()}.json`);
  });
  get("download-png").addEventListener("click", () => {
    if (!shown()) return;
    compose().toBlob((blob) => (blob ? save(blob, `${stem()}.png`) : tellProblem("the picture could not be made")), "image/png");
  });
  get("copy-curl").addEventListener("click", () =>
    copy(get("curl").textContent ?? "", "Command copied", "Mark the command below and copy it"),
  );
  let timer = 0;
  panel(["answer"], () => {
    for (const id of ["copy-link", "download-json", "download-png", "copy-curl"]) {
      get<HTMLButtonElement>(id).disabled = !shown();
    }
    // While somebody draws nobody reads the command; laying its text out anew takes longer than all maps.
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      const answer = shown();
      get("again").hidden = !answer;
      text(get("curl"), answer ? command(answer, `${stem()}.json`) : "");
    }, 150);
  });
}
