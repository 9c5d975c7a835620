// The review: one picture after another, or a grid of them; a decision is on the server's disk before the next comes.

import { call } from "./api.js";
import { isTyping, leave, onChosen, open, setClasses } from "./class_field.js";
import * as grid from "./grid.js";
import { make, percent } from "./result.js";

const $ = (selector) => document.querySelector(selector);
const pages = new Map(), details = new Map();
let kind = "", total = 0, page = 60, at = 0, many = false, busy = false, classes = [], decided = 0, everything = 0, shown = null;

const post = (path, content) =>
  call(path, { method: "POST", body: JSON.stringify(content), headers: { "Content-Type": "application/json" } });

function fail(error, words = "Not saved") {
  $("#fault").hidden = !error;
  if (error) $("#fault").textContent = `${words}: ${error.message}`;
}

/** Awaits what only shows something: where it cannot, the page says so, and the decisions so far are saved. */
const seen = (promise) => promise.catch((error) => fail(error, "Not shown"));

async function load(start) {
  const first = start - (start % page);
  if (!pages.has(first)) {
    const answer = await call(`/queue?kind=${encodeURIComponent(kind)}&start=${first}`);
    ({ total, page } = answer);
    pages.set(first, answer.items);
    tell(answer);
    if (kind === "") everything = total;
    drawKinds(answer.kinds);
    $("#file").textContent = answer.file;
    return answer;
  }
  return null;
}

function tell(answer) {
  ({ decided } = answer);
  classes = answer.classes;
  setClasses(classes);
  $("#progress").textContent = `${decided.toLocaleString("en")} of ${(everything || total).toLocaleString("en")} decided`;
}

const item = (place) => pages.get(place - (place % page))?.[place % page];

function drawKinds(kinds) {
  const every = [{ kind: "", words: "all", count: everything, decided }, ...kinds];
  $("#kinds").replaceChildren(...every.map((each) => {
    const button = make("button", { type: "button", "aria-pressed": String(each.kind === kind) }, `${each.words} ${each.count.toLocaleString("en")}`);
    button.addEventListener("click", () => seen(begin(each.kind)));
    return button;
  }));
}

async function begin(which) {
  kind = which;
  pages.clear();
  grid.clear();
  const { first } = await load(0);
  await go(first);
}

/** Shows the picture at a place of the queue, or the page of the grid that it is on. */
async function go(place) {
  at = Math.max(0, Math.min(place, total));
  const over = at >= total;
  if (!over) await load(at);
  $("#done").hidden = !over;
  $("#actions").hidden = false;
  $("#one").hidden = over || many;
  $("#grid").hidden = over || !many;
  if (over) await finish();
  else if (many) $("#actions .main span").textContent = "All right";
  if (!over && many) grid.show(pages.get(at - (at % page)), at - (at % page), total, at % page);
  else if (!over) showOne(item(at));
}

/** The end of the queue: what to do next, or how many pictures were skipped. */
async function finish() {
  shown = null;
  const { first, kinds, decided: all } = await call(`/queue?kind=${encodeURIComponent(kind)}`);
  const of = kinds.find((each) => each.kind === kind) ?? { count: total, decided: all };
  const left = of.count - of.decided;
  $("#done h2").textContent = left ? `End of the queue: ${left.toLocaleString("en")} skipped` : "Nothing left to review";
  $("#again").hidden = !left;
  $("#again").onclick = () => seen(go(first));
}

/** Goes on to the next picture that nobody has decided on. */
async function next(from) {
  let place = from;
  for (; place < total; place += 1) {
    await load(place);
    if (item(place).decision === null) break;
  }
  await go(place);
}

function detail(sha256) {
  if (!details.has(sha256)) {
    if (details.size > 200) details.clear();
    const answer = call(`/item/${sha256}`);
    details.set(sha256, answer);
    answer.catch(() => details.delete(sha256));  // asked for again
  }
  return details.get(sha256);
}

function showOne(found) {
  shown = found;
  const now = found.decision && ["label", "new-class"].includes(found.decision) ? found.new : found.label;
  $("#picture").src = `/picture/${found.sha256}?large`;
  $("#picture").alt = found.id;
  $("#because").hidden = true;
  $("#name").textContent = found.id;
  $("#split").textContent = found.split ? `(${found.split})` : "";
  $("#why").textContent = `${found.words}: ${found.detail}`;
  const state = { none: "none of the classes", remove: "removed", accept: `${now}, as it was` }[found.decision];
  $("#label").textContent = state ?? (now ? `Label: ${now}` : "No label yet");
  const taken = now || (found.needs_label ? found.suggestion : "");
  $("#actions .main span").textContent = taken ? `It is ${taken}` : "Reviewed";
  // Unless they are known already they take a moment, in which a key must not choose from the last picture's classes.
  $("#top").replaceChildren();
  $("#near").replaceChildren();
  judge(found, now);
  for (let ahead = at + 1; ahead <= at + 4; ahead += 1) {
    const coming = item(ahead);
    if (!coming) continue;
    new Image().src = `/picture/${coming.sha256}?large`;
    detail(coming.sha256);
  }
}

/** Shows what the model thinks of the picture, and its neighbours. */
async function judge(found, now) {
  const { top, neighbours } = await detail(found.sha256).catch(() => ({ top: [], neighbours: [] }));
  if (shown !== found) return;
  const single = classes.every((name) => [...name].length === 1);
  $("#digit-help").textContent = single ? "The class of that name" : "The class with that number in the model's list";
  $("#top").replaceChildren(...top.map(({ label, probability }, place) => {
    const bar = make("svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
      make("rect", { width: Math.max(.6, 100 * probability), height: 4 }));
    const button = make("button", { type: "button" }, make("kbd", {}, single ? label : String(place + 1)),
      make("span", { class: "label", title: label }, label), bar, make("span", { class: "share" }, percent(probability)));
    if (label === now) button.querySelector(".label").classList.add("is");
    button.addEventListener("click", () => decide("label", label));
    return make("li", {}, button);
  }));
  $("#near").replaceChildren(...neighbours.map(({ sha256, label }) => {
    const picture = make("img", { src: `/picture/${sha256}`, alt: `labelled ${label}` });
    picture.addEventListener("load", () => picture.classList.toggle("tiny", picture.naturalWidth <= 64));
    return make("li", { title: label, class: label === now ? "" : "other" }, picture, label);
  }));
  explain(found);
}

/** After a moment's stay, what the model's answer depends on. */
async function explain(found) {
  await new Promise((resolve) => setTimeout(resolve, 400));
  if (shown !== found) return;
  const answer = await call(`/why/${found.sha256}`).catch(() => ({ png: null }));
  if (shown !== found || !answer.png) return;
  $("#seen").src = `data:image/png;base64,${answer.input}`;
  $("#heat").src = `data:image/png;base64,${answer.png}`;
  $("#because").hidden = false;
  $("#because p").textContent = `The prediction ${answer.label} depends on the bright areas. Its probability is ${percent(answer.probability)}; ` +
    `with the ${answer.where} covered, ${percent(answer.lowest)}.`;
}

function keep(rows) {
  const fresh = new Map(rows.map((row) => [row.sha256, row]));
  for (const found of pages.values()) found.forEach((old, place) => { found[place] = fresh.get(old.sha256) ?? old; });
}

/** Posts to the server, one at a time, then goes on; a key pressed until then is meant for no other picture. */
async function save(path, content, goOn) {
  if (busy) return;
  busy = true;
  try {
    const answer = await post(path, content).catch(fail);
    if (!answer) return;
    fail(null);
    keep(answer.items);
    tell(answer);
    await seen(goOn(answer));
  } finally {
    busy = false;
  }
}

async function decide(decision, label = "") {
  const those = many ? grid.targets() : [item(at)].filter(Boolean);
  if (!those.length) return;
  await save("/decide", { pictures: those.map((each) => each.sha256), decision, label }, async () => {
    if (!many) return next(at + 1);
    grid.clear();
    return go(at - (at % page) + grid.place());
  });
}

const undo = () => save("/undo", { kind }, async (answer) => {
  if (answer.kind !== kind) await begin(answer.kind);
  if (answer.place !== null) await go(answer.place);
  else $("#progress").textContent = answer.undone ? "Undone, for an image that is not in this queue" : "Nothing to undo";
});

async function switchMode() {
  many = !many;
  $("#mode").setAttribute("aria-pressed", String(many));
  if (!many) at = at - (at % page) + grid.place();
  await go(at);
  if (many) $("#cells").focus({ preventScroll: true });
}

const actions = {
  accept: () => decide("accept"),
  none: () => decide("none"),
  remove: () => decide("remove"),
  skip: () => (many ? go(at - (at % page) + page) : next(at + 1)),
  undo,
};

function key(event) {
  if (isTyping() || document.querySelector("dialog[open]")) return false;
  const ctrl = event.ctrlKey || event.metaKey;
  if (ctrl && event.key === "z") return undo() && true;
  if (many && !$("#grid").hidden && grid.key(event)) return true;
  if (ctrl || event.altKey) return false;
  const button = event.target.closest?.("button");
  if (button && (event.key === "Enter" || event.key === " ")) return false;
  const simple = { Enter: actions.accept, "-": actions.none, Delete: actions.remove, Backspace: actions.remove,
    " ": actions.skip, ArrowRight: actions.skip, ArrowLeft: () => go(at - 1), ".": switchMode,
    PageDown: () => go(at - (at % page) + page), PageUp: () => go(at - (at % page) - page),
    "?": () => $("#help").showModal(), "/": () => open() }[event.key];
  if (simple) return seen(Promise.resolve(simple())) && true;
  if ([...event.key].length !== 1 || event.key === " ") return false;
  if (classes.includes(event.key) && classes.every((name) => [...name].length === 1)) return decide("label", event.key) && true;
  if (/[1-9]/.test(event.key) && !many) return $("#top").children[Number(event.key) - 1]?.querySelector("button").click() || true;
  open(event.key);
  return true;
}

addEventListener("keydown", (event) => { if (key(event)) event.preventDefault(); });
for (const button of document.querySelectorAll("#actions button")) {
  button.addEventListener("click", () => { seen(actions[button.dataset.do]()); button.blur(); });
}
$("#picture").addEventListener("load", () => $("#picture").classList.toggle("tiny", $("#picture").naturalWidth <= 64));
$("#mode").addEventListener("click", () => { seen(switchMode()); $("#mode").blur(); });
$("#keys").addEventListener("click", () => $("#help").showModal());
$("#help .close").addEventListener("click", () => $("#help").close());
onChosen((label, isNew) => decide(isNew ? "new-class" : "label", label));
leave();
seen(begin(""));
