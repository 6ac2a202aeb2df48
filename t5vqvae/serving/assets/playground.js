"use strict";
// One page of four views. The part of the address behind # is the whole state: every action changes it, and the page
// shows what it says; so each view has a link, and the browser's Back works.

const $ = (query, within = document) => within.querySelector(query);
let turn = 0; // answers that arrive after the next action are not shown

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function say(words, error = false) {
  const status = $("#status");
  status.textContent = words;
  status.classList.toggle("error", error);
}

async function ask(path, body) {
  const token = sessionStorage.getItem("token");
  const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const options = body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers };
  const reply = await fetch(path, options);
  const found = await reply.json();
  if (path !== "health") $("#unlock").hidden = reply.status !== 401; // that one needs no token
  if (!reply.ok) throw new Error(found.error);
  const { name, version } = found.model; // an alias may move between two answers
  $("#model").textContent = name + (version ? `, version ${version}` : "");
  return found;
}

const first = async (path, body) => (await ask(path, body)).answers[0];
const shown = () => new URLSearchParams(location.hash.slice(1));
const address = (values) => "#" + new URLSearchParams(
  Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined));
const go = (values) => { location.hash = address(values); };
const written = (codes) => codes.map((position) => position.join(",")).join(".");
const read = (words) => words.split(".").map((position) => position.split(",").map(Number));

function marked(text, changed) {
  const words = text.split(/\s+/).filter(Boolean), part = document.createDocumentFragment();
  words.forEach((word, place) => part.append(
    place ? " " : "", (changed || []).includes(place) ? element("mark", { textContent: word }) : word));
  return part;
}

function table(head, rows) {
  const cell = (name, value, number) => {
    const made = element(name, { className: number ? "number" : "" });
    made.append(value);
    return made;
  };
  const numbers = head.map((title) => title.startsWith("#"));
  const line = (name, values) => element("tr", {}, ...values.map((value, i) => cell(name, value, numbers[i])));
  return element("table", {},
    element("thead", {}, line("th", head.map((title) => title.replace("#", "")))),
    element("tbody", {}, ...rows.map((row) => line("td", row))));
}

const codeLink = (code, codebook = 0) => element("a", {
  href: address({ view: "code", code, codebook: codebook || "" }), textContent: code, title: `Page of code ${code}` });

// ------------------------------------------------------------------ a sentence, its tokens and codes

async function showCodes(state, section, isCurrent) {
  const text = state.get("text") || "";
  section.querySelector("form").text.value = text;
  if (!text) return void ($(".result", section).hidden = true);
  const { answers: [own], model: { version } } = await ask("encode", { texts: [text] });
  const other = state.get("codes") && state.get("version") && state.get("version") !== version;
  const codes = state.get("codes") && !other ? read(state.get("codes")) : own.codes;
  const prompts = own.prompts ? [own.prompts] : null;
  const { answers: [decoded], model } = await ask("decode", { codes: [codes], prompts, compare: [text] });
  if (!isCurrent()) return;
  if (model.version !== version) return show(); // it moved just now
  const given = state.get("position"), chosen = given === null || (other && !codes[given]) ? null : Number(given);
  drawTokens(section, text, own, codes, chosen, version);
  $(".original", section).textContent = text;
  $(".decoded", section).replaceChildren(marked(decoded.text, decoded.changed));
  const reset = $(".reset", section);
  reset.hidden = written(codes) === written(own.codes);
  reset.onclick = () => go({ view: "codes", text, position: chosen });
  $(".result", section).hidden = false;
  const sentence = { text, ...changes(codes, own.codes, version) }, codebook = Number(state.get("codebook") || 0);
  await drawNearest($(".nearest", section), sentence, codes, chosen, codebook, version, isCurrent);
  const before = `The codes of this address are of version ${state.get("version")}`;
  return other ? `${before}; shown are those of version ${version}.` : "";
}

function drawTokens(section, text, own, codes, chosen, version) {
  const focused = document.activeElement?.dataset?.position;
  const buttons = codes.map((position, place) => {
    const changed = written([position]) !== written([own.codes[place] || []]);
    const button = element("button", { type: "button", className: changed ? "swapped" : "" },
      element("span", { textContent: named(own.tokens[place]) }),
      element("span", { className: "code", textContent: position.join(",") }));
    button.dataset.position = place;
    button.setAttribute("aria-pressed", place === chosen);
    button.onclick = () => go({ view: "codes", text, ...changes(codes, own.codes, version), position: place });
    return button;
  });
  $(".tokens", section).replaceChildren(...buttons);
  if (focused !== undefined) buttons[Number(focused)]?.focus();
}

const named = (token) => (token === "▁" ? "␣" : token || "end"); // a source of two texts has two ends
const changes = (codes, own, version) => (written(codes) === written(own) ? {} : { codes: written(codes), version });

async function drawNearest(box, sentence, codes, position, codebook, version, isCurrent) {
  box.hidden = position === null;
  if (position === null) return;
  const { text } = sentence;
  const { answers: [found], model } = await ask("traverse", { text, codes, position, codebook, nearest: 12 });
  if (!isCurrent()) return;
  if (model.version !== version) return show();
  const rows = found.swaps.map((swap) => {
    const button = element("button", { type: "button", textContent: "Swap" });
    button.setAttribute("aria-label", `Put code ${swap.code} in its place`);
    button.onclick = () => go({
      view: "codes", text, codes: written(swap.codes), version, position, codebook: codebook || "" });
    return [codeLink(swap.code, codebook), swap.distance.toPrecision(3), marked(swap.text, swap.changed), button];
  });
  const books = codes[position].map((_, number) => element("a", {
    href: address({ view: "codes", ...sentence, position, codebook: number }),
    textContent: ` codebook ${number}` }));
  box.replaceChildren(
    element("h2", {}, `Nearest codes of “${named(found.token)}”, code `, codeLink(found.code, codebook)),
    books.length > 1 ? element("p", {}, ...books) : "",
    table(["#Code", "#Distance²", "Decodes to", ""], rows));
}

// ------------------------------------------------------------------ the walk between two sentences

async function showWalk(state, section, isCurrent) {
  const form = section.querySelector("form"), box = $(".result", section);
  const [source, goal, steps] = [state.get("source") || "", state.get("goal") || "", Number(state.get("steps") || 7)];
  Object.assign(form.source, { value: source });
  Object.assign(form.goal, { value: goal });
  form.steps.value = steps;
  form.walk.checked = state.get("walk") === "1";
  if (!source || !goal) return box.replaceChildren();
  const path = await first("interpolate", { source, goal, steps, walk: form.walk.checked });
  if (!isCurrent()) return;
  const head = "Decodes to; marked: changed since the row above, in the first row since the given sentence";
  box.hidden = false;
  box.replaceChildren(table(["#t", head], path.steps.map((step) => [
    step.t.toFixed(2), marked(step.text, step.changed)])));
}

// ------------------------------------------------------------------ splices

async function showSplice(state, section, isCurrent) {
  const form = section.querySelector("form"), box = $(".result", section), values = {};
  for (const name of ["text", "donor", "words", "how", "place"]) form[name].value = values[name] = state.get(name) || "";
  const { text, donor, words, how, place } = values;
  if (!text || !donor || !words) return box.replaceChildren();
  const found = await first("splice", { text, donor, words, ...(how ? { [how]: place } : {}) });
  if (!isCurrent()) return;
  const pair = (title, body, kind) => element("div", {},
    element("dt", { textContent: title }), element("dd", { className: kind }, body));
  box.hidden = false;
  box.replaceChildren(element("dl", { className: "texts" },
    pair("Sentence, decoded", found.plain, "plain"),
    pair("Spliced", marked(found.text, found.changed), "spliced")));
}

// ------------------------------------------------------------------ the page of a code

async function showCode(state, section, isCurrent) {
  const form = section.querySelector("form"), box = $(".result", section);
  const code = state.get("code"), codebook = Number(state.get("codebook") || 0);
  form.code.value = code ?? "";
  form.codebook.value = codebook;
  say("reading training sentences …");
  const found = await ask(code === null ? `codes?codebook=${codebook}` : `codes/${Number(code)}?codebook=${codebook}`);
  if (!isCurrent()) return;
  box.hidden = false;
  box.replaceChildren(...(code === null ? listed(found, codebook) : onePage(found, codebook)));
}

const MOST_CODES = 100;
const share = (value) => (value === null ? "–" : value.toFixed(3));
const counted = (words) => words.map(([word, count]) => `${word} ${count}`).join(", ");

function listed(found, codebook) {
  const most = found.codes.slice(0, MOST_CODES), rest = found.codes.length > MOST_CODES;
  return [
    element("p", { textContent: `${found.codes.length} of ${found.entries} codes stand in ${found.sentences} sentences`
      + (rest ? `; the ${MOST_CODES} most frequent are below, and each has a page by its number.` : ".") }),
    table(["#Code", "#Count", "#Purity", "#By chance", "Words"], most.map((use) => [
      codeLink(use.code, codebook), String(use.count), share(use.purity), share(use.shuffled),
      counted(use.words.slice(0, 5))]))];
}

function inside({ text, spans }) {
  const letters = Array.from(text), parts = []; // a span counts characters, JavaScript's strings half of some
  let done = 0;
  for (const [start, end] of spans) {
    if (end <= done) continue; // a further piece of one character
    parts.push(letters.slice(done, start).join(""), element("mark", { textContent: letters.slice(start, end).join("") }));
    done = end;
  }
  return [...parts, letters.slice(done).join("")];
}

function onePage(found, codebook) {
  const { use } = found;
  const contexts = found.contexts.map((context) => {
    const link = element("a", { href: address({
      view: "codes", text: context.text, position: context.positions[0], codebook: codebook || "" }),
      textContent: "open" });
    return element("li", {}, ...inside(context), " ", link);
  });
  return [
    element("h2", { textContent: `Code ${use.code}` }),
    element("p", { className: "use", textContent: use.count
      ? `${use.count} times in ${found.sentences} sentences; purity ${share(use.purity)}, by chance ${share(use.shuffled)}`
      : `in none of ${found.sentences} sentences` }),
    element("p", { className: "words", textContent: counted(use.words) }),
    element("ol", { className: "contexts" }, ...contexts)];
}

// ------------------------------------------------------------------ the page

const VIEWS = { codes: showCodes, walk: showWalk, splice: showSplice, code: showCode };

async function show() {
  const now = ++turn, view = shown().get("view") in VIEWS ? shown().get("view") : "codes";
  for (const name of Object.keys(VIEWS)) $(`#${name}`).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  say("working …");
  const section = $(`#${view}`), isCurrent = () => now === turn;
  try {
    const words = await VIEWS[view](shown(), section, isCurrent);
    if (isCurrent()) say(words || "");
  } catch (error) {
    if (!isCurrent()) return;
    $(".result", section).hidden = true; // it is of other inputs
    say(error.message, true);
  }
}

for (const name of Object.keys(VIEWS)) {
  $(`#${name} form`).addEventListener("submit", (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(event.target));
    if (values.walk) values.walk = "1";
    const next = address({ view: name, ...values });
    if (next === location.hash) show();
    else location.hash = next;
  });
}

$("#unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", event.target.token.value);
  show();
});

$(".tokens").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], here = document.activeElement;
  if (!step || here.dataset.position === undefined) return;
  event.preventDefault();
  (step > 0 ? here.nextElementSibling : here.previousElementSibling)?.focus();
});

addEventListener("hashchange", show);
ask("health");
show();
