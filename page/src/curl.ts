// The command that repeats the request.
import { hasToken } from "./api";
import type { Result } from "./types";

const MAX_INLINE = 4096;

/** Quotes for a POSIX shell: nothing is special in single quotes. */
export const quoted = (words: string): string => `'${words.replaceAll("'", `'\\''`)}'`;

/** file: name of the JSON download. */
export function command(result: Result, file: string): string {
  const body = JSON.stringify(result.request);
  const url = new URL("v1/predict", location.href);
  url.hash = url.search = "";
  const token = hasToken() ? ` \\\n  -H "Authorization: Bearer $SCANLINE_TOKEN"` : "";
  const head = `curl -X POST ${quoted(url.href)} \\\n  -H 'Content-Type: application/json'${token}`;
  if (body.length <= MAX_INLINE) return `${head} \\\n  --data-raw ${quoted(body)}`;
  const cut = "import json,sys; json.dump(json.load(open(sys.argv[1]))['request'], sys.stdout)";
  return `python3 -c "${cut}" ${quoted(file)} |\n${head} --data-binary @-`;
}
