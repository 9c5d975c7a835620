// The grid: one page of the queue, of which many can be marked and decided on at once.

import { make } from "./result.js";

const cells = document.querySelector("#cells"), line = document.querySelector("#page-line");
const marked = new Set();
let items = [], at = 0;

export const clear = () => marked.clear();
/** The pictures that a decision is for: those that are marked, else the one where the cursor is. */
export const targets = () => (marked.size ? items.filter((each) => marked.has(each.sha256)) : items.slice(at, at + 1));
export const place = () => at;

const words = (item) => {
  if (item.decision === null) return item.label ? `${item.label} (${item.suggestion}?)` : `${item.suggestion}?`;
  return { accept: "right", none: "none of these", remove: "removed" }[item.decision] ?? `→ ${item.new}`;
};

function cell(item, index) {
  const picture = make("img", { src: `/picture/${item.sha256}`, alt: item.id, loading: "lazy", decoding: "async" });
  picture.addEventListener("load", () => picture.classList.toggle("tiny", picture.naturalWidth <= 64));
  const entry = make("li", { role: "option", id: `cell-${index}`, "aria-selected": String(marked.has(item.sha256)),
    title: `${item.id}: ${item.detail}` }, picture, make("p", {}, words(item)));
  entry.classList.toggle("at", index === at);
  entry.classList.toggle("decided", item.decision !== null);
  entry.addEventListener("click", () => { at = index; mark(item); });
  return entry;
}

function mark(item) {
  if (!marked.delete(item.sha256)) marked.add(item.sha256);
  draw();
}

/** Shows a page of the queue. */
export function show(page, start, total, cursor = at) {
  items = page;
  at = Math.max(0, Math.min(cursor, items.length - 1));
  const [first, last, all] = [start + 1, start + items.length, total].map((number) => number.toLocaleString("en"));
  line.textContent = `${first} to ${last} of ${all}`;
  draw();
}

function draw() {
  cells.replaceChildren(...items.map(cell));
  cells.setAttribute("aria-activedescendant", `cell-${at}`);
}

function columns() {
  return getComputedStyle(cells).gridTemplateColumns.split(" ").length;
}

/** Handles a key of the grid; says whether it was one. */
export function key(event) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() };
  if (event.key in steps) {
    const next = at + steps[event.key];
    if (next >= 0 && next < items.length) at = next;
    draw();
    cells.children[at]?.scrollIntoView({ block: "nearest" });
    return true;
  }
  if (event.key === " ") {
    mark(items[at]);
    return true;
  }
  if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
    const open = items.filter((item) => item.decision === null);
    const all = open.every((item) => marked.has(item.sha256));
    for (const item of open) marked[all ? "delete" : "add"](item.sha256);
    draw();
    return true;
  }
  return false;
}
