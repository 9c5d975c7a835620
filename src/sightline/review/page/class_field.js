// The field for another class: its name is completed as it is typed.

import { make } from "./result.js";

const field = document.querySelector("#class"), options = document.querySelector("#options");
let classes = [], at = 0, shown = [], chosen = () => {};

export const setClasses = (names) => { classes = names; };
export const onChosen = (handler) => { chosen = handler; };
export const isTyping = () => document.activeElement === field;

function close() {
  options.hidden = true;
  field.setAttribute("aria-expanded", "false");
  field.removeAttribute("aria-activedescendant");
}

export function leave() {
  field.value = "";
  field.blur();
  close();
}

/** Opens the field, with what was typed already. */
export function open(text = "") {
  field.value = text;
  field.focus();
  list();
}

function list() {
  const typed = field.value.trim().toLowerCase();
  const starts = classes.filter((name) => name.toLowerCase().startsWith(typed));
  const holds = classes.filter((name) => !starts.includes(name) && name.toLowerCase().includes(typed));
  shown = [...starts, ...holds].slice(0, 50).map((name) => ({ name, isNew: false }));
  // Never the first to be chosen by Enter: a typing mistake must not become a class.
  if (typed && !classes.includes(field.value.trim())) shown.push({ name: field.value.trim(), isNew: true });
  at = shown.length && shown[0].isNew ? -1 : 0;
  draw();
}

function draw() {
  options.replaceChildren(...shown.map(({ name, isNew }, place) => {
    const entry = make("li", { role: "option", id: `option-${place}`, "aria-selected": String(place === at) },
      isNew ? `“${name}” as a new class (Shift+Enter)` : name);
    entry.addEventListener("mousedown", (event) => { event.preventDefault(); choose(place); });
    return entry;
  }));
  options.hidden = !shown.length;
  field.setAttribute("aria-expanded", String(!options.hidden));
  if (at >= 0) {
    field.setAttribute("aria-activedescendant", `option-${at}`);
    options.children[at]?.scrollIntoView({ block: "nearest" });
  }
  if (!options.hidden) options.scrollIntoView({ block: "nearest" });
}

function choose(place) {
  const found = shown[place];
  if (!found) return;
  leave();
  chosen(found.name, found.isNew);
}

field.addEventListener("input", list);
field.addEventListener("focus", list);
field.addEventListener("blur", close);
field.addEventListener("keydown", (event) => {
  event.stopPropagation();
  if (event.key === "Escape") leave();
  else if (event.key === "Enter") choose(event.shiftKey ? shown.findIndex((each) => each.isNew) : at);
  else if (event.key === "ArrowDown") at = Math.min(at + 1, shown.length - 1);
  else if (event.key === "ArrowUp") at = Math.max(at - 1, 0);
  else return;
  event.preventDefault();
  if (event.key.startsWith("Arrow")) draw();
});
