"use strict";
const test = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
let answers = [];

// Wilson's interval at 95 %.
function wilson(hits, count) {
  const z = 1.959963984540054, share = hits / count, scale = 1 + (z * z) / count;
  const middle = (share + (z * z) / (2 * count)) / scale;
  const half = (z / scale) * Math.sqrt((share * (1 - share)) / count + (z * z) / (4 * count * count));
  return [middle - half, middle + half];
}

function next() {
  get("examples").hidden = true;
  const done = answers.length === test.trials.length;
  get("trial").hidden = done;
  get("score").hidden = answers.length === 0;
  if (!done) {
    get("number").textContent = answers.length + 1;
    get("picture").src = test.trials[answers.length].picture;
  }
  if (answers.length) score();
}

function score() {
  const hits = answers.filter((answer, index) => answer === test.trials[index].truth).length;
  const percent = (value) => (100 * value).toFixed(1) + "%";
  const [low, high] = wilson(hits, answers.length);
  const conclusion =
    low > 0.5 ? "you can tell them apart" : high < 0.5 ? "you confuse the two kinds" : "this is no better than chance";
  get("result").textContent =
    `${hits} of ${answers.length} right: ${percent(hits / answers.length)} [${percent(low)}, ${percent(high)}]; ${conclusion}`;
  const file = JSON.stringify({ test: test.id, answers });
  get("save").href = "data:application/json," + encodeURIComponent(file);
}

function guess(what) {
  if (get("trial").hidden) return;
  answers.push(what);
  next();
}

get("start").addEventListener("click", () => { answers = []; next(); });
for (const button of document.querySelectorAll("[data-guess]"))
  button.addEventListener("click", () => guess(button.dataset.guess));
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() === "p") guess("real");
  if (event.key.toLowerCase() === "r") guess("refined");
});
get("load").addEventListener("change", async (event) => {
  const saved = JSON.parse(await event.target.files[0].text());
  if (saved.test !== test.id) { alert("These answers belong to another test."); return; }
  answers = saved.answers.slice(0, test.trials.length);
  next();
});
