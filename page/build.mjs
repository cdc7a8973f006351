// Bundles page/src into src/scanline/serving/page, which is committed: whoever installs Scanline needs no Node.
//
// The first line of app.js and app.css names a digest of the sources, so that a test without Node sees a stale
// bundle: SHA-256 over every file below page/src, in the order of their relative paths (with "/", sorted by code
// point), of each the path in UTF-8, one "\n", and the file's bytes; nothing in between and nothing after.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "src");
const target = join(here, "..", "src", "scanline", "serving", "page");

const paths = readdirSync(source, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(source, join(entry.parentPath ?? entry.path, entry.name)).split(sep).join("/"))
  .sort();
const digest = createHash("sha256");
for (const path of paths) digest.update(`${path}\n`).update(readFileSync(join(source, path)));
const banner = `/* built from page/ by npm run build; sources sha256 ${digest.digest("hex")} */`;

mkdirSync(target, { recursive: true });
await build({
  entryPoints: { app: join(source, "main.ts") },
  outdir: target,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "none",
  banner: { js: banner },
  logLevel: "warning",
});
await build({
  entryPoints: { app: join(source, "app.css") },
  outdir: target,
  bundle: true,
  minify: true,
  target: "es2022",
  banner: { css: banner },
  logLevel: "warning",
});
copyFileSync(join(source, "index.html"), join(target, "index.html"));

const sizes = ["index.html", "app.js", "app.css"].map((name) => statSync(join(target, name)).size);
console.log(`index.html ${sizes[0]}, app.js ${sizes[1]}, app.css ${sizes[2]}: ${sizes.reduce((a, b) => a + b)} bytes`);
