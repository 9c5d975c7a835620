"use strict";
// The gallery's filters. Without a script the page shows all of its images, and no filter.
const form = document.querySelector("form.filters");
const list = document.querySelector("ul.browsed");
const cards = [...list.children];
const count = form.querySelector("output");

function show() {
  const { truth, predicted, slice, kind, order } = Object.fromEntries(new FormData(form));
  let shown = 0;
  for (const card of cards) {
    const { truth: t, predicted: p, slices } = card.dataset;
    const fits = (!truth || t === truth) && (!predicted || p === predicted) &&
      (!slice || slices.split(" ").includes(slice)) && (!kind || (kind === "wrong") === (t !== p));
    card.hidden = !fits;
    shown += fits;
  }
  const by = { most: (a, b) => b.dataset.certainty - a.dataset.certainty, least: (a, b) => a.dataset.certainty - b.dataset.certainty };
  list.append(...(by[order] ? [...cards].sort(by[order]) : cards));
  count.value = `${shown} of the ${cards.length} images here`;
}

form.hidden = false;
form.addEventListener("input", show);
form.addEventListener("reset", () => setTimeout(show));
document.addEventListener("click", (event) => {
  const link = event.target.closest("a.pick");
  if (!link) return;
  form.reset();
  for (const [name, value] of Object.entries(link.dataset)) form.elements[name].value = value;
  show();
});
show();
