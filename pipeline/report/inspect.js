"use strict";
const form = document.getElementById("query"), article = document.getElementById("document");
const life = document.getElementById("life"), position = document.getElementById("position");
let at = 0, counted = { asked: "", matched: null };

// Text from documents is only ever set as text, never as markup.
function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

async function ask(path, values) {
  const answer = await fetch(`${path}?${new URLSearchParams(values)}`);
  return answer.json();
}

function show(found) {
  const origin = found.origin || {};
  const head = element("p", "note");
  head.append(element("bdi", "url", found.url || found.id), " · ", element("code", "", found.id));
  const place = element("p", "note");
  place.append(element("bdi", "url", `${found.source} · ${origin.file} @ ${origin.offset} · ${found.language || "language unknown"}`));
  const measured = found.value === undefined || found.value === null ? "" : `: ${found.value} against ${found.bound}`;
  const reason = found.error ? `${found.error}: ${found.message}` : found.rule ? `by ${found.rule}${measured}` : "";
  const text = element("bdi", "text");
  text.dir = "auto";
  if (!found.passes.length) text.textContent = found.text || "(no text was kept)";
  for (const pass of found.passes) {
    if (found.passes.length > 1) text.append(element("p", "note", `version ${pass.version}, as ${pass.step} edited it`));
    for (const piece of pass.pieces) {
      const made = element({ same: "span", deleted: "del", inserted: "ins" }[piece.kind], "", piece.text);
      if (piece.rule) made.title = piece.rule;
      text.append(made);
    }
  }
  const why = element("button", "", "its whole life");
  why.type = "button";
  why.addEventListener("click", () => tell(found.id));
  article.replaceChildren(head, place, element("p", `why ${found.outlet}`, `${found.outlet} at ${found.step} ${reason}`), text, why);
}

async function tell(id) {
  const found = await ask("/life", { of: id });
  life.replaceChildren(element("h2", "", found.error || found.verdict));
  for (const event of found.events || []) {
    life.append(element("h3", "", `${event.step}: ${event.outcome}`));
    const table = element("table"), rows = [];
    for (const [name, value] of Object.entries(event.facts)) rows.push([name, value, ""]);
    for (const rule of event.rules) rows.push([rule.rule, rule.value, `${rule.bound}${rule.fails ? " · fails" : ""}`]);
    for (const row of rows) {
      const made = element("tr");
      for (const cell of row) made.append(element("td", "", String(cell ?? "")));
      table.append(made);
    }
    const scroll = element("div", "scroll");
    scroll.append(table);
    life.append(scroll);
  }
  life.scrollIntoView();
}

async function move(to) {
  const values = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
  const found = await ask("/document", { ...values, at: to });
  life.replaceChildren();
  if (found.error) {
    position.textContent = found.error;
    return article.replaceChildren();
  }
  if (!found.document) {
    position.textContent = to === 0 ? "no document is like that" : `${at + 1}, the last`;
    if (to === 0) article.replaceChildren();
    return;
  }
  at = to;
  position.textContent = `document ${at + 1}`;
  show(found.document);
  const asked = JSON.stringify(values);
  if (asked !== counted.asked) {
    counted = { asked, matched: null };
    ask("/count", values).then((answer) => {
      if (counted.asked === asked && answer.matched !== undefined) counted.matched = answer.matched;
      tellPosition();
    });
  }
  tellPosition();
}

function tellPosition() {
  if (counted.matched === null) return;
  const matched = counted.matched.toLocaleString("en");
  position.textContent = `document ${(at + 1).toLocaleString("en")} of ${matched} that match`;
}

form.addEventListener("change", () => move(0));
form.addEventListener("submit", (event) => { event.preventDefault(); move(0); });
document.getElementById("next").addEventListener("click", () => move(at + 1));
document.getElementById("previous").addEventListener("click", () => move(Math.max(0, at - 1)));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input")) return;
  if (event.key === "j") move(at + 1);
  if (event.key === "k") move(Math.max(0, at - 1));
});
move(0);
