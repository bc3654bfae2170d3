"use strict";
const data = JSON.parse(document.getElementById("data").textContent);

// Text from documents is only ever set as text, never as markup.
function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const theme = document.getElementById("theme");
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

function sortBy(head) {
  const column = head.cellIndex;
  const body = head.closest("table").tBodies[0];
  const descending = head.getAttribute("aria-sort") !== "descending" && (head.classList.contains("num") || head.hasAttribute("aria-sort"));
  const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
  const rows = [...body.rows].sort((one, other) => {
    const a = value(one), b = value(other);
    const order = a !== "" && b !== "" && !isNaN(a) && !isNaN(b) ? a - b : String(a).localeCompare(String(b));
    return descending ? -order : order;
  });
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  body.append(...rows);
}
for (const button of document.querySelectorAll(".sort")) button.addEventListener("click", () => sortBy(button.closest("th")));

function number(value) {
  return typeof value === "number" ? Number(value.toPrecision(6)).toLocaleString("en") : String(value);
}

function show(into, sample) {
  const head = element("p", "note");
  const page = element("bdi", "url", sample.url || sample.id);
  head.append(page);
  if (sample.url) head.append(" · ", element("code", "", sample.id));
  into.replaceChildren(head);
  if (sample.rule) {
    const cut = sample.bound === undefined ? "" : `, the cut is ${number(sample.bound)}`;
    const measured = sample.value === undefined ? "" : `: ${number(sample.value)}${cut}`;
    into.append(element("p", "why", sample.rule + measured));
  }
  if (sample.error) into.append(element("p", "why", `${sample.error}: ${sample.message || ""}`));
  const text = element("bdi", "text", sample.text === undefined ? "(no text was kept)" : sample.text);
  text.dir = "auto";
  const ask = element("p", "note", "its whole life: ");
  ask.append(element("code", "command", `${data.why} ${sample.id}`));
  into.append(text, ask);
}

const group = document.getElementById("group");
if (group) {
  const article = document.getElementById("sample"), position = document.getElementById("position");
  let at = 0;
  const move = (step) => {
    const samples = data.samples[group.value].samples;
    at = Math.min(Math.max(at + step, 0), samples.length - 1);
    show(article, samples[at]);
    position.textContent = `${at + 1} of ${samples.length}`;
  };
  const start = () => { at = 0; move(0); };
  group.addEventListener("change", start);
  document.getElementById("next").addEventListener("click", () => move(1));
  document.getElementById("previous").addEventListener("click", () => move(-1));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input")) return;
    if (event.key === "j") move(1);
    if (event.key === "k") move(-1);
  });
  start();
}

// Paper has no clicks: what is folded is unfolded for it, but not what is folded in there again.
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open]):not(details details)")];
  for (const folded of unfolded) folded.open = true;
});
addEventListener("afterprint", () => { for (const folded of unfolded) folded.open = false; });

for (const button of document.querySelectorAll("button.near")) {
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => {
    const card = button.closest(".card"), shown = card.querySelector(".pair");
    card.classList.toggle("open", !shown);
    button.setAttribute("aria-expanded", String(!shown));
    if (shown) return shown.remove();
    const pair = element("div", "pair");
    for (const label of button.dataset.labels.split(" ")) {
      const side = element("div");
      const found = data.samples[label];
      side.append(element("p", "note", found ? found.title : "none on this side"));
      for (const sample of found ? found.samples : []) {
        const article = element("article", "sample");
        show(article, sample);
        side.append(article);
      }
      pair.append(side);
    }
    card.append(pair);
  });
}
