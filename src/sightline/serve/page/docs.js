// Renders /openapi.json: what is there to call, how, and what comes back.

import { make } from "./result.js";

const EXAMPLES = {
  "post /predict": [
    ["One image", "curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' BASE/predict"],
    ["Many images", "curl -F image=@a.png -F image=@b.png 'BASE/predict?top_k=3'"],
    ["JSON", `printf '{"images": ["%s"]}' "$(base64 < photo.jpg | tr -d '\\n')" |\n  curl -d @- -H 'Content-Type: application/json' BASE/predict`],
  ],
  "post /explain": [["One image", "curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' BASE/explain"]],
  "get /model": [["", "curl BASE/model"]],
  "get /health": [["", "curl BASE/health"]],
  "get /metrics": [["", "curl BASE/metrics"]],
};

function text(markdown) {
  return markdown.split(/(`[^`]+`)/).map((part) => (part.startsWith("`") ? make("code", {}, part.slice(1, -1)) : part));
}

const table = (titles, rows) => make("div", { class: "scroll", tabindex: 0 }, make("table", {},
  make("thead", {}, make("tr", {}, ...titles.map((title) => make("th", { scope: "col" }, title)))),
  make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell)))))));

const code = (value) => make("code", {}, value);

function shape(schema, schemas, depth = 0) {
  if (schema.$ref) return depth > 6 ? "…" : shape(schemas[schema.$ref.split("/").pop()], schemas, depth + 1);
  if (schema.properties) {
    return Object.fromEntries(Object.entries(schema.properties).map(([name, one]) => [name, shape(one, schemas, depth + 1)]));
  }
  if (schema.type === "array") return [shape(schema.items, schemas, depth + 1)];
  if (schema.anyOf) return shape(schema.anyOf[0], schemas, depth + 1);
  const type = [].concat(schema.type || "any").join(" or ");
  return schema.contentEncoding ? `${schema.contentEncoding}` : type;
}

function operation(path, verb, call, schemas) {
  const parts = [make("h2", {}, make("span", { class: "verb" }, verb.toUpperCase()), code(path)), make("p", {}, ...text(call.summary))];
  if (call.description) parts.push(make("p", { class: "quiet" }, ...text(call.description)));
  for (const [title, line] of EXAMPLES[`${verb} ${path}`] || []) {
    if (title) parts.push(make("h3", {}, title));
    parts.push(make("pre", { tabindex: 0 }, code(line.replaceAll("BASE", location.origin))));
  }
  if (call.parameters) {
    parts.push(make("h3", {}, "Query"), table(["name", "type", "what it does"], call.parameters.map((one) =>
      [code(one.name), one.schema.type, one.description])));
  }
  if (call.requestBody) {
    parts.push(make("h3", {}, "Body, one of"), make("p", {}, ...Object.keys(call.requestBody.content).flatMap((kind) => [code(kind), " "])));
  }
  parts.push(make("h3", {}, "Responses"), table(["status", "when"], Object.entries(call.responses).map(([status, one]) =>
    [code(status), one.description])));
  const schema = call.responses["200"].content?.["application/json"]?.schema;
  if (schema) {
    parts.push(make("details", {}, make("summary", {}, "Structure of the response"),
      make("pre", { tabindex: 0 }, code(JSON.stringify(shape(schema, schemas), null, 2)))));
  }
  return make("section", { class: "call" }, ...parts);
}

const api = await (await fetch("/openapi.json")).json();
document.querySelector("#about").textContent = api.info.description;
document.querySelector("#calls").append(
  make("p", { class: "quiet" }, "If the server requires a key, send it as ", code("X-API-Key"), " or ", code("Authorization: Bearer"), "."),
  ...Object.entries(api.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, call]) => operation(path, verb, call, api.components.schemas))));
