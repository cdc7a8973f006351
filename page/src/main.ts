// Starts the page.
import { getModel, RequestError } from "./api";
import { startBars } from "./bars";
import { startBoard } from "./board";
import { startChart } from "./chart";
import { get, make, text } from "./dom";
import { showExample, startGallery } from "./gallery";
import { choose } from "./inputs";
import { startSave } from "./save";
import { fromHash } from "./link";
import { startMaps } from "./maps";
import { startPaste } from "./paste";
import { startErrors, showError } from "./errors";
import { startPlayer } from "./player";
import { startInputView } from "./inputview";
import { changed, model, state } from "./state";
import { startStrip } from "./strip";
import { startTheme } from "./theme";
import type { Model } from "./types";
import { startUnits } from "./units";
import { startTokens } from "./tokens";
import { startUpload } from "./upload";
import { startWriting } from "./writing";
import { startPrediction } from "./prediction";
import { startWhatIf } from "./whatif";
import { capital, count, describeNetwork, percent } from "./format";

function describe(given: Model): void {
  const { network, accuracy, input } = given;
  text(get("name"), given.name);
  document.title = `${given.name} · Scanline`;
  const parameters = given.members.reduce((sum, each) => sum + each.parameters, network?.parameters ?? 0);
  const what = network ? capital(describeNetwork(network)) : `Ensemble of ${given.members.length} models (${[...new Set(given.members.map(describeNetwork))].join("; ")})`;
  const facts = [
    `${what}, ${count(parameters)} parameters, trained on ${given.trained_on}`,
    input.kind === "picture" ? `reads ${input.height} × ${input.width} pixels${network ? `, ${input.unit} by ${input.unit}` : ""}` : input.kind === "text" ? `reads texts ${input.unit} by ${input.unit}` : `reads ${input.features} ${input.features === 1 ? "feature" : "features"} step by step`,
  ];
  const worth = accuracy
    ? `${percent(accuracy.accuracy)} of ${count(accuracy.n)} test ${{ picture: "images", sequence: "sequences", text: "texts" }[input.kind]} correct (95 % confidence interval ${(100 * accuracy.ci95[0]).toFixed(2)} to ${percent(accuracy.ci95[1])})`
    : "test accuracy not recorded";
  const about = get("about");
  about.replaceChildren(`${facts.join("; ")}. `, make("strong", {}, `${worth.charAt(0).toUpperCase()}${worth.slice(1)}.`));
  about.append(` Licence: ${given.licence ?? "not stated"}.${given.calibrated ? " Probabilities are calibrated." : ""}`);
  const refused = given.streams_obstacle;
  about.append(refused === null ? " Streams: predictions while steps arrive, over a WebSocket at v1/stream." : ` No streams: ${refused}.`);
  text(get("served-by"), `Scanline ${given.version}, model ${given.model}`);
}

async function readLink(): Promise<boolean> {
  try {
    const found = await fromHash(location.hash, model());
    if (!found) return false;
    if (model().network) state.whatIf = found.whatIf;
    changed("what-if");
    choose(found.input);
    return true;
  } catch (error) {
    linkError = `This link cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    showError(linkError);
    return false;
  }
}

let linkError = "";

async function start(): Promise<void> {
  try {
    state.known = await getModel();
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    document.body.dataset.state = "failed";
    showError(error, () => void start());
    return;
  }
  const given = model();
  const { input } = given;
  describe(given);
  get("app").hidden = false;
  const draws = input.kind === "picture" && input.channels === 1;
  get("drawing").hidden = !draws;
  get("pasting").hidden = input.kind !== "sequence";
  get("writing").hidden = input.kind !== "text";
  get("app").dataset.kind = input.kind;
  const titles = { picture: draws ? "Draw" : "Choose an image", sequence: "Paste", text: "Write" };
  text(get("input-title"), titles[input.kind]);
  if (input.kind === "picture" && draws) startBoard(input);
  if (input.kind === "sequence") startPaste(input);
  if (input.kind === "text") startWriting(input);
  startUpload();
  if (input.kind === "text") startTokens(input);
  else startInputView();
  startPrediction();
  startBars();
  for (const each of document.querySelectorAll<HTMLElement>("[data-needs=network]")) each.hidden = !given.network;
  if (given.network) {
    startPlayer();
    startStrip();
    startChart();
    startMaps();
    startUnits();
    startWhatIf();
  }
  startSave();
  changed("input", "prediction", "step", "view", "what-if");
  await startGallery();
  window.addEventListener("hashchange", () => void readLink());
  if (await readLink()) return;
  if (state.input) return; // the visitor was faster than the gallery
  if (!showExample()) choose(null);
  if (linkError) showError(linkError);
}

startTheme();
startErrors();
void start();
