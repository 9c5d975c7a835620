// The page: takes pictures in, four at a time to the server, and lists what comes back.

import { call, send } from "./api.js";
import { photograph } from "./camera.js";
import { render } from "./card.js";
import { fill, make, waiting } from "./result.js";

const AT_ONCE = 4;
const $ = (selector) => document.querySelector(selector);
const drop = $("#drop"), results = $("#results"), status = $("#status"), progress = $("#progress");
const queue = [];
let rows = [], limits = null, threshold = null, running = 0, done = 0, failed = 0, total = 0;

const size = (bytes) => (bytes >= 2 ** 20 ? `${Math.round(bytes / 2 ** 20)} MB` : `${Math.ceil(bytes / 1024)} kB`);

async function introduce() {
  let about;
  try {
    about = await call("/model");
  } catch (error) {
    $("#model").textContent = error.message;
    return;
  }
  ({ limits, threshold } = about);
  const first = about.classes.slice(0, 4).join(", ");
  const more = about.classes.length > 4 ? ` and ${about.classes.length - 4} more` : "";
  const added = about.extended.length ? `; extended, not trained: ${about.extended.join(", ")}` : "";
  $("#model").textContent = `${about.classes.length} classes: ${first}${more}${added}`;
  $("#limits").textContent = `${limits.formats.join(", ")}; up to ${size(limits.max_bytes)} each.`;
  const facts = [["version", about.version], ["model", about.model], ["form", about.form],
    ["input", about.input.join(" × ")], ["classes", about.classes.join(", ")],
    ["abstains below", threshold === null ? "never" : threshold.toFixed(3)]];
  const table = make("table", {}, make("tbody", {}, ...facts.map(([name, value]) =>
    make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, make("code", {}, String(value)))))));
  $("#card-body").replaceChildren(make("div", { class: "scroll", tabindex: 0 }, table), render(about.card));
  $("#about").disabled = false;
}

function say() {
  const busy = done < total;
  progress.hidden = !busy;
  progress.value = done / total;
  const bad = failed ? `, ${failed} could not be read` : "";
  status.textContent = busy ? `${done} of ${total} pictures …` : `${total} picture${total === 1 ? "" : "s"} done${bad}`;
}

function tooLarge(file) {
  return limits && file.size > limits.max_bytes
    ? { path: file.name, error: "too_many_bytes", detail: `${size(file.size)}; ${size(limits.max_bytes)} are allowed.`, top: [] }
    : null;
}

async function predict(file) {
  const query = threshold === null ? "" : `?threshold=${threshold}`;
  try {
    const answer = await send(`/predict${query}`, file);
    return answer.predictions[0];
  } catch (error) {
    return { error: error.error || "error", detail: error.message, top: [] };
  }
}

async function work() {
  running += 1;
  while (queue.length) {
    const { file, item, row } = queue.shift();
    const prediction = tooLarge(file) || (await predict(file));
    Object.assign(row, prediction, { path: file.name });
    fill(item, file, prediction);
    done += 1;
    if (prediction.error) failed += 1;
    if (item.isConnected) say();
  }
  running -= 1;
}

function take(files) {
  if (!files.length) return;
  $("#bar").hidden = false;
  const added = [];
  for (const file of files) {
    const row = { path: file.name };
    const item = waiting(file);
    rows.push(row);
    queue.push({ file, item, row });
    added.push(item);
  }
  total += files.length;
  results.prepend(...added);
  say();
  while (running < AT_ONCE && running < queue.length + running) {
    if (!queue.length) break;
    work();
  }
}

function clear() {
  for (const image of results.querySelectorAll("img.thumb")) URL.revokeObjectURL(image.src);
  queue.length = 0;
  rows = [];
  done = failed = total = 0;
  results.replaceChildren();
  $("#bar").hidden = true;
  $("#pick").focus();
}

/** A cell of CSV. A leading = + - @ would make a spreadsheet run a file's name as a formula. */
function cell(value) {
  const text = String(value ?? "");
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

function save() {
  const lines = [["path", "label", "probability", "novelty", "error", "detail"].join(",")];
  for (const row of rows) {
    const share = row.probability == null ? "" : row.probability;
    lines.push([cell(row.path), cell(row.label), share, row.novelty ?? "", cell(row.error), cell(row.detail)].join(","));
  }
  const url = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
  make("a", { href: url, download: "predictions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

for (const input of [$("#files"), $("#capture")]) {
  input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
}
$("#pick").addEventListener("click", () => $("#files").click());
$("#photo").addEventListener("click", () => photograph(take));
$("#clear").addEventListener("click", clear);
$("#save").addEventListener("click", save);
$("#about").addEventListener("click", () => $("#card").showModal());
for (const button of document.querySelectorAll("dialog .close")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
// The whole page takes what is dropped: a picture that misses the field must not replace the page.
let over = 0;
addEventListener("dragenter", (event) => { event.preventDefault(); over += 1; drop.classList.add("over"); });
addEventListener("dragleave", () => { over -= 1; if (over <= 0) drop.classList.remove("over"); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  over = 0;
  drop.classList.remove("over");
  take([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) take([...event.clipboardData.files]);
});
introduce();
