// The one line that says what went wrong, and the form that asks for a token.
import { keepToken, hasToken, Trouble } from "./api";
import { get, text } from "./dom";

let ofAsking = false;
let again: (() => void) | null = null;

export function tellProblem(trouble: Trouble | string, retry: (() => void) | null = null): void {
  const known = typeof trouble === "string" ? new Trouble(trouble, 422) : trouble;
  if (known.status === 401) {
    askForToken(known, retry);
    return;
  }
  let words = known.message;
  if (known.retryAfter !== null) words = `${sentence(words)} Trying again in ${known.retryAfter} s.`;
  // Only these may go away by themselves; a wrong value stays wrong.
  ofAsking = typeof trouble !== "string";
  again = known.status === 0 || known.status >= 500 ? retry : null;
  get("problem-bar").hidden = false;
  get("retry").hidden = !again;
  text(get("problem"), sentence(words));
}

/** An answer has come: what kept it away is over. Other faults, as of a link, stay until something else is chosen. */
export function clearAsking(): void {
  if (ofAsking) clearProblem();
}

export function clearProblem(): void {
  get("problem-bar").hidden = true;
  text(get("problem"), "");
}

const sentence = (words: string): string => {
  const whole = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
};

let afterToken: (() => void) | null = null;

function askForToken(trouble: Trouble, retry: (() => void) | null): void {
  afterToken = retry;
  get("token-form").hidden = false;
  if (hasToken()) {
    get("problem-bar").hidden = false;
    get("retry").hidden = true;
    text(get("problem"), sentence(`that token was not taken: ${trouble.message}`));
  }
  get("token").focus();
}

export function startProblems(): void {
  get("dismiss").addEventListener("click", () => {
    clearProblem();
    get("main").focus();
  });
  get("retry").addEventListener("click", () => again?.());
  get<HTMLFormElement>("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = get<HTMLInputElement>("token");
    keepToken(field.value.trim());
    field.value = "";
    get("token-form").hidden = true;
    clearProblem();
    afterToken?.();
  });
}
