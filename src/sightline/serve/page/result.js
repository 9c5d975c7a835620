// One picture and what the model says of it, as a list item.

import { send } from "./api.js";

/** Makes an element: make("p", { class: "x" }, "text", child, ...). Text stays text, whatever it holds. */
export function make(tag, attributes = {}, ...children) {
  const svg = tag === "svg" || tag === "rect";
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const REASONS = {
  empty: "The file is empty.",
  too_many_bytes: "The file is too large.",
  too_many_pixels: "The picture has too many pixels.",
  too_many_frames: "This is an animation, or a document of several pages.",
  format_not_allowed: "This kind of picture is not accepted.",
  unsupported_format: "This kind of picture cannot be read: send it as JPEG or PNG.",
  not_an_image: "This is not a picture.",
  truncated: "The picture is incomplete.",
  corrupt: "The picture is damaged.",
  blank: "The picture is blank.",
  too_many_bits: "The picture's samples have more bits than the model was trained on.",
  out_of_memory: "The picture needs more memory than is available.",
};

/** A share as a percentage that never rounds to a certainty it is not. */
export function percent(share) {
  if (share >= 0.9995 && share < 1) return ">\u00a099.9\u00a0%";
  if (share > 0 && share < 0.0005) return "<\u00a00.1\u00a0%";
  return `${(100 * share).toFixed(1)}\u00a0%`;
}

function bars(top) {
  return make("ol", { class: "bars", "aria-label": "Most probable classes" }, ...top.map(({ label, probability }) => {
    const drawn = make("svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
      make("rect", { width: Math.max(0.6, 100 * probability), height: 4 }));
    return make("li", {}, make("span", { class: "label", title: label }, label), drawn,
      make("span", { class: "share" }, percent(probability)));
  }));
}

const png = (part, alt) =>
  make("img", { src: `data:image/png;base64,${part.png}`, alt, ...(part.width < 96 ? { class: "tiny" } : {}) });

function heatMap({ heat, input }) {
  const cover = make("img", { src: `data:image/png;base64,${heat.png}`, alt: "" });
  const slider = make("input", { type: "range", min: 0, max: 100, value: 80, "aria-label": "Strength of the heat map" });
  cover.style.opacity = 0.8;
  slider.addEventListener("input", () => { cover.style.opacity = slider.value / 100; });
  const caption = heat.probability - heat.lowest > 0.005
    ? `Covering its ${heat.where} lowers “${heat.label}” from ${percent(heat.probability)} to ${percent(heat.lowest)}.`
    : `Covering any part of it hardly makes “${heat.label}” less probable.`;
  return make("div", {}, make("h3", {}, "What the network looked at"), make("p", { class: "small quiet" }, caption),
    make("div", { class: "heat" }, png(input, `The picture, with a heat map. ${caption}`), cover),
    make("label", { class: "range" }, "Heat", slider));
}

function steps(explanation) {
  const shown = explanation.steps.map((step) => make("li", {}, png(step, `After ${step.name}`),
    make("strong", {}, step.name), make("br"), `${step.width} × ${step.height}`));
  return make("div", {}, make("h3", {}, "How it was preprocessed"),
    make("p", { class: "small quiet" }, "Step by step, from your picture to what the network gets."),
    make("ol", { class: "steps" }, ...shown));
}

async function explain(item, file, button) {
  const there = item.querySelector(".why");
  if (there) {
    there.hidden = !there.hidden;
  } else {
    button.disabled = true;
    button.textContent = "Looking …";
    const why = make("div", { class: "why" });
    try {
      const explanation = await send("/explain", file);
      why.append(heatMap(explanation), steps(explanation));
      item.append(why);
    } catch (error) {
      item.querySelector(".body").append(make("p", { class: "problem", role: "alert" }, error.message));
    }
    button.disabled = false;
    button.focus();
  }
  const open = Boolean(item.querySelector(".why:not([hidden])"));
  button.setAttribute("aria-expanded", open);
  button.textContent = open ? "Hide why" : "Why?";
  item.classList.toggle("open", open);
}

function thumbnail(file) {
  const image = make("img", { class: "thumb", alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("load", () => {
    if (image.naturalWidth < 96) image.classList.add("tiny");
  });
  image.addEventListener("error", () => {
    URL.revokeObjectURL(image.src);
    image.replaceWith(make("div", { class: "thumb", "aria-hidden": "true" }, "no preview"));
  });
  image.src = URL.createObjectURL(file);
  return image;
}

/** A picture that waits for its answer. */
export function waiting(file) {
  const body = make("div", { class: "body" }, make("p", { class: "answer quiet" }, "…"));
  return make("li", { class: "result" }, thumbnail(file), make("p", { class: "name", title: file.name }, file.name), body);
}

/** Shows what came of it. */
export function fill(item, file, prediction) {
  const body = item.querySelector(".body");
  if (prediction.error) {
    const words = REASONS[prediction.error];
    const detail = prediction.detail ? `${words ? " " : ""}${prediction.detail}` : "";
    body.replaceChildren(make("p", { class: "problem" }, make("strong", {}, words || ""), detail || prediction.error));
    return;
  }
  const answer = prediction.novelty > 1
    ? make("p", { class: "answer unsure" }, `Unlike any class the model knows; nearest: ${prediction.top[0].label}`)
    : prediction.abstained
    ? make("p", { class: "answer unsure" }, `Unsure, perhaps ${prediction.top[0].label}`)
    : make("p", { class: "answer" }, prediction.label);
  if (prediction.detail) answer.append(make("small", {}, ` (${prediction.detail})`));
  body.replaceChildren(answer, bars(prediction.top));
  const button = make("button", { type: "button", class: "plain", "aria-expanded": "false",
    "aria-label": `Why? ${file.name}` }, "Why?");
  button.addEventListener("click", () => explain(item, file, button));
  item.append(button);
}
