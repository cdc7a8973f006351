// The command that asks the same again.
import { hasToken } from "./api";
import type { Answer } from "./types";

const MOST_INLINE = 4096;

/** For a POSIX shell: nothing in single quotes means anything. */
export const quoted = (words: string): string => `'${words.replaceAll("'", `'\\''`)}'`;

/** file: where the JSON download of this answer is saved. */
export function command(answer: Answer, file: string): string {
  const body = JSON.stringify(answer.request);
  const url = new URL("v1/predict", location.href);
  url.hash = url.search = "";
  const token = hasToken() ? ` \\\n  -H "Authorization: Bearer $SCANLINE_TOKEN"` : "";
  const head = `curl -X POST ${quoted(url.href)} \\\n  -H 'Content-Type: application/json'${token}`;
  if (body.length <= MOST_INLINE) return `${head} \\\n  --data-raw ${quoted(body)}`;
  const cut = "import json,sys; json.dump(json.load(open(sys.argv[1]))['request'], sys.stdout)";
  return `python3 -c "${cut}" ${quoted(file)} |\n${head} --data-binary @-`;
}
