// The error message, and the form that asks for a token.
import { keepToken, hasToken, RequestError } from "./api";
import { get, text } from "./dom";

let fromRequest = false;
let again: (() => void) | null = null;

export function showError(failure: RequestError | string, retry: (() => void) | null = null): void {
  const known = typeof failure === "string" ? new RequestError(failure, 422) : failure;
  if (known.status === 401) {
    askForToken(known, retry);
    return;
  }
  let words = known.message;
  if (known.retryAfter !== null) words = `${sentence(words)} Retrying in ${known.retryAfter} s.`;
  // Only failed requests may go away by themselves; a wrong value stays wrong.
  fromRequest = typeof failure !== "string";
  again = known.status === 0 || known.status >= 500 ? retry : null;
  get("problem-bar").hidden = false;
  get("retry").hidden = !again;
  text(get("problem"), sentence(words));
}

/** Clears the error of a failed request. Other errors, for example of a link, stay until the input changes. */
export function clearRequestError(): void {
  if (fromRequest) clearError();
}

export function clearError(): void {
  get("problem-bar").hidden = true;
  text(get("problem"), "");
}

const sentence = (words: string): string => {
  const whole = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
};

let afterToken: (() => void) | null = null;

function askForToken(failure: RequestError, retry: (() => void) | null): void {
  afterToken = retry;
  get("token-form").hidden = false;
  if (hasToken()) {
    get("problem-bar").hidden = false;
    get("retry").hidden = true;
    text(get("problem"), sentence(`the token was rejected: ${failure.message}`));
  }
  get("token").focus();
}

export function startErrors(): void {
  get("dismiss").addEventListener("click", () => {
    clearError();
    get("main").focus();
  });
  get("retry").addEventListener("click", () => again?.());
  get<HTMLFormElement>("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = get<HTMLInputElement>("token");
    keepToken(field.value.trim());
    field.value = "";
    get("token-form").hidden = true;
    clearError();
    afterToken?.();
  });
}
