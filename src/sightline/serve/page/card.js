// The model card: the part of Markdown that it uses, as elements. Nothing in it becomes HTML.

import { make } from "./result.js";

const INLINE = /(\\[!-\/:-@[-`{-~]|\*\*[^*]+\*\*|`[^`]+`)/;   // an escaped sign comes first: it is only itself

function inline(text) {
  return text.split(INLINE).map((part) => {
    if (INLINE.test(part) && part.startsWith("\\")) return part.slice(1);
    if (part.startsWith("**") && part.length > 4) return make("strong", {}, part.slice(2, -2));
    if (part.startsWith("`") && part.length > 2) return make("code", {}, part.slice(1, -1));
    return part.replace(/\[([^\]]+)\]\([^)]*\)/g, "$1");
  });
}

const cells = (line) => line.replace(/^\||(?<!\\)\|\s*$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim());

function table(lines) {
  const [head, ...rows] = lines.filter((line) => !/^\|?[\s:|-]+$/.test(line));
  const titles = cells(head);
  const top = titles.some(Boolean) ? [make("thead", {}, make("tr", {}, ...titles.map((c) => make("th", { scope: "col" }, ...inline(c)))))] : [];
  const body = make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row).map((c) => make("td", {}, ...inline(c))))));
  return make("div", { class: "scroll", tabindex: 0 }, make("table", {}, ...top, body));
}

function block(lines) {
  const heading = /^(#{1,4})\s+(.*)/.exec(lines[0]);
  if (heading) return [make(`h${Math.min(4, heading[1].length + 2)}`, {}, ...inline(heading[2])), ...(lines[1] ? block(lines.slice(1)) : [])];
  if (lines[0].startsWith("|")) return [table(lines)];
  if (/^[-*] /.test(lines[0])) {
    const items = lines.join("\n").split(/\n(?=[-*] )/);
    return [make("ul", {}, ...items.map((item) => make("li", {}, ...inline(item.slice(2).replace(/\s+/g, " ")))))];
  }
  return [make("p", {}, ...inline(lines.join(" ")))];
}

/** Returns the elements of a card; its YAML head, for machines, is left out. */
export function render(markdown) {
  const text = markdown.replace(/^---\n[\s\S]*?\n---\n/, "");
  const parts = [];
  for (const [place, part] of text.split(/```[^\n]*\n/).entries()) {
    if (place % 2) {
      parts.push(make("pre", { tabindex: 0 }, make("code", {}, part.replace(/\n$/, ""))));
    } else {
      for (const lines of part.split(/\n\s*\n/)) {
        if (lines.trim()) parts.push(...block(lines.trim().split("\n")));
      }
    }
  }
  return make("div", { class: "prose" }, ...parts);
}
