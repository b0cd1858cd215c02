"use strict";
const galleries = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const dialog = get("details");
let at = { gallery: 0, number: 0 };

function show(gallery, number) {
  const pairs = galleries[gallery];
  at = { gallery, number: (number + pairs.length) % pairs.length };
  const pair = pairs[at.number];
  const shown = document.querySelectorAll(`[data-gallery="${gallery}"] [data-number="${at.number}"] .picture`);
  const [before, after, nearest] = [...shown].map((picture) => picture.querySelector("img").src);
  Object.entries({ before, after, nearest, difference: pair.difference }).forEach(([key, source]) => { get("details-" + key).src = source; });
  // The labels lie over the first two pictures.
  ["before", "after"].forEach((key, index) => {
    const picture = get("details-" + key).parentElement, labels = shown[index].querySelector(".overlay");
    picture.querySelector(".overlay")?.remove();
    if (!labels) return;
    const copy = labels.cloneNode(true);
    for (const named of copy.querySelectorAll("[id]")) named.removeAttribute("id");
    picture.append(copy);
  });
  get("details-name").textContent = pair.name;
  get("details-distance").textContent = "distance " + pair.distance.toFixed(2) + "; 0 means the same picture";
  get("details-drift").textContent = pair.sentence;
  document.querySelector("#compare .before").src = before;
  document.querySelector("#compare .after").src = after;
  get("shown-name").textContent = pair.name;
  if (!dialog.open) dialog.showModal();
}

get("split").addEventListener("input", (event) => get("compare").style.setProperty("--split", event.target.value + "%"));
for (const gallery of document.querySelectorAll(".gallery"))
  gallery.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(Number(gallery.dataset.gallery), Number(button.dataset.number));
  });
get("previous").addEventListener("click", () => show(at.gallery, at.number - 1));
get("next").addEventListener("click", () => show(at.gallery, at.number + 1));
get("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") show(at.gallery, at.number - 1);
  if (event.key === "ArrowRight") show(at.gallery, at.number + 1);
});
