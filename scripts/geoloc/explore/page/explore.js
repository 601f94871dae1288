"use strict";
// The state is in the address behind #, so that Back, reload and bookmarks work.

const byId = (id) => document.getElementById(id);
const FILTERS = ["group", "country", "row", "dataset", "answer", "object"];
let run = null; // what can be chosen
let list = null; // the page of images that is shown
let listKey = ""; // the query that it answers
let drawn = 0; // number of the last drawing; a slower, older one is dropped

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function state() {
  return new URLSearchParams(location.hash.slice(1));
}

function go(changes, keep = true) {
  const next = keep ? state() : new URLSearchParams();
  for (const [key, value] of Object.entries(changes)) {
    if (value === "" || value === null) next.delete(key);
    else next.set(key, value);
  }
  location.hash = next.toString();
}

async function fetchJson(path) {
  const response = await fetch(path);
  const answer = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

const number = (value) => value.toLocaleString("en");
const percent = (value) => `${(100 * value).toFixed(value < 0.0995 && value > 0 ? 1 : 0)}\u00a0%`;

function fill(select, options, empty) {
  const first = empty ? [select.options[0]] : [];
  select.replaceChildren(...first, ...options.map(({ key, title }) => new Option(title, key)));
}

function fillFilters() {
  const form = byId("filters").elements;
  const titled = run.groups.map((g) => ({ key: g.key, title: `${g.title} (${number(g.images)})` }));
  fill(form.group, titled);
  fill(form.country, run.countries, true);
  fill(form.row, run.rows, true);
  fill(form.dataset, run.datasets);
  for (const scores of run.scores) {
    const own = run.objects.filter((o) => o.scores === scores);
    for (const selected of [true, false]) {
      const group = document.createElement("optgroup");
      group.label = `${scores}: ${selected ? "selected classes" : "other classes"}`;
      const found = own.filter((o) => o.selected === selected);
      group.append(...found.map((o) => new Option(`${o.title} (${number(o.images)})`, o.key)));
      if (found.length) form.object.append(group);
    }
  }
  form.object.disabled = !run.objects.length;
  fill(byId("model"), run.rows, true);
  fill(byId("shown"), run.datasets);
  fill(byId("scores"), run.scores.map((name) => ({ key: name, title: name })));
}

function query() {
  const from = state();
  const wanted = new URLSearchParams();
  for (const key of [...FILTERS, "page"]) {
    if (from.get(key)) wanted.set(key, from.get(key));
  }
  return wanted.toString();
}

// ---------------------------------------------------------------------------------- the list

function showFilters() {
  const form = byId("filters").elements;
  const from = state();
  for (const key of FILTERS) {
    const first = key === "answer" ? "all" : form[key].options[0]?.value ?? "";
    form[key].value = from.get(key) ?? first;
  }
  const tested = form.row.value && (form.group.value.endsWith("/test"));
  form.answer.disabled = !tested;
}

function pictureOf(n, dataset, small) {
  const parameters = new URLSearchParams({ dataset });
  if (small) parameters.set("size", "small");
  return `/pictures/${n}?${parameters}`;
}

const currentDataset = () => state().get("dataset") ?? run.datasets[0].key;

function card(image) {
  const parameters = state();
  parameters.set("image", image.n);
  const kind = byId("filters").elements.group.value.startsWith("street/") ? "Street image" : "Photo";
  const picture = element("img", {
    src: pictureOf(image.n, currentDataset(), true), alt: `${kind}: ${image.country_name}`,
    loading: "lazy", width: 224, height: 224,
  });
  const link = element("a", { className: "card", href: `#${parameters}` }, picture,
    element("span", { textContent: image.country_name }));
  if (image.answer) {
    const text = image.right ? `right, ${percent(image.probability)}`
      : `${image.answer}, ${percent(image.probability)}`;
    const mark = image.right ? "✓ " : "✗ ";
    const classes = image.right ? "right" : "wrong";
    link.append(element("span", { className: classes, textContent: mark + text }));
  }
  return element("li", {}, link);
}

async function loadList() {
  const wanted = query();
  if (list && wanted === listKey) return;
  list = await fetchJson(`/api/images?${wanted}`);
  listKey = wanted;
}

function showList() {
  const first = list.page * run.page_size;
  byId("count").textContent = list.total
    ? `${number(first + 1)}–${number(first + list.images.length)} of ${number(list.total)} images`
    : "No images match. Choose other filters.";
  byId("page").value = list.page + 1;
  byId("page").max = list.pages;
  byId("pages").textContent = `of ${number(list.pages)}`;
  byId("previous").disabled = list.page === 0;
  byId("next").disabled = list.page + 1 >= list.pages;
  byId("grid").replaceChildren(...list.images.map(card));
  document.title = "Beyond the Image";
}

const turn = (page) => {
  if (list && page >= 0 && page < list.pages) go({ page: page || "" });
};

// --------------------------------------------------------------------------------- one image

function answerTable(answer) {
  const mark = answer.right ? "right" : "wrong";
  const caption = element("caption", {}, `Shown as ${answer.title}: `,
    element("span", { className: mark, textContent: answer.right ? "✓ right" : "✗ wrong" }));
  const table = element("table", {}, caption);
  for (const best of answer.best) {
    const meter = element("meter", { value: best.probability, max: 1 });
    meter.setAttribute("aria-label", `Probability of ${best.name}`);
    const head = element("th", { scope: "row", textContent: best.name });
    table.append(element("tr", {}, head, element("td", { className: "bar-cell" }, meter),
      element("td", { textContent: percent(best.probability) })));
  }
  const told = [`Probability of the right country: ${percent(answer.label_probability)}.`];
  if (answer.kilometers !== null) {
    const to = answer.distance_to === "place" ? "the predicted place" : "the middle of the answer's training images";
    told.push(`${number(Math.round(answer.kilometers))} km to ${to}.`);
  }
  return element("div", {}, table, element("p", { className: "faint", textContent: told.join(" ") }));
}

function showAnswers(image) {
  const box = byId("answers");
  if (image.answers.length) {
    box.replaceChildren(...image.answers.map(answerTable));
    return;
  }
  const text = state().get("row") ? "The model was not tested on this image."
    : "Choose a model to see its answers.";
  box.replaceChildren(element("p", { className: "faint", textContent: text }));
}

function imageLink(n, alt) {
  const parameters = state();
  parameters.set("image", n);
  const picture = element("img", { src: pictureOf(n, run.datasets[0].key, true), alt, width: 224, height: 224 });
  return element("a", { className: "card", href: `#${parameters}` }, picture);
}

function showNearest(image) {
  const box = byId("nearest");
  const near = image.nearest;
  if (!near) {
    const text = image.split === "train" ? "Training images are not compared with each other."
      : "Not stored. Run snakemake check_leakage.";
    box.replaceChildren(element("p", { className: "faint", textContent: text }));
    return;
  }
  const told = element("div", {},
    element("p", { textContent: near.id === null ? "No near-duplicate." : `${near.country_name}: ${near.bits} of 64 bits of the perceptual hash differ${near.mirrored ? " (mirrored)" : ""}.` }),
    element("p", { className: "faint", textContent: "By leakage.csv. Unrelated pictures differ in about 32 bits, copies in a few." }),
    ...(near.id === null ? [] : [element("p", { className: "faint", textContent: near.id })]));
  if (near.meters !== null) {
    const far = near.meters < 10000 ? `${number(Math.round(near.meters))} m` : `${number(Math.round(near.meters / 1000))} km`;
    const where = element("p", { textContent: `Taken nearest, ${far} away: ` });
    if (near.place_n >= 0) {
      const parameters = state();
      parameters.set("image", near.place_n);
      where.append(element("a", { href: `#${parameters}`, textContent: near.place_id }));
    } else where.append(near.place_id);
    told.append(where);
  }
  const shown = near.n >= 0 ? imageLink(near.n, `Most similar training image: ${near.country_name}`) : "";
  box.replaceChildren(element("div", { className: "near" }, shown, told));
}

function showFacts(image) {
  const place = image.latitude === null ? "unknown" : `${image.latitude.toFixed(4)}, ${image.longitude.toFixed(4)}`;
  const facts = {
    Name: image.id, Country: `${image.country_name} (${image.country})`, Source: image.source,
    Collection: image.collection, Split: image.split, Shard: image.shard, Place: place,
  };
  byId("facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) =>
    [element("dt", { textContent: name }), element("dd", { textContent: value })]));
}

function showViews(image) {
  const datasets = image.street ? run.datasets : run.datasets.slice(0, 1);
  const shown = datasets.map(({ key, title }) => {
    const button = element("button", { type: "button", className: "card" },
      element("img", { src: pictureOf(image.n, key, true), alt: "", width: 224, height: 224 }),
      element("span", { textContent: title }));
    button.addEventListener("click", () => { byId("shown").value = key; showLarge(image); });
    return element("li", {}, button);
  });
  const scores = image.street ? run.scores.map((name) => {
    const source = `/scores/${image.n}?${new URLSearchParams({ scores: name })}`;
    return element("li", {}, element("div", { className: "card" },
      element("img", { src: source, alt: `Score map ${name}`, width: 224, height: 224 }),
      element("span", { textContent: `Score map (${name})` })));
  }) : [];
  const row = state().get("row");
  const maps = image.explained.map(({ method, title, failed }) => {
    const source = `/relevance/${image.n}?${new URLSearchParams({ row, method })}`;
    const inside = failed
      ? element("span", { className: "faint", textContent: `Not shown: ${failed}.` })
      : element("img", { src: source, alt: `What the answer rests on: ${title}`, width: 224, height: 224 });
    return element("li", {}, element("div", { className: "card" }, inside, element("span", { textContent: title })));
  });
  byId("views").replaceChildren(...shown, ...scores, ...maps);
}

function showLarge(image) {
  const select = byId("shown");
  const large = byId("large");
  large.src = pictureOf(image.n, select.value, false);
  large.alt = `${image.country_name}, shown as ${select.selectedOptions[0].textContent}`;
}

const svg = (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag);

let labels = null; // segments whose names are drawn, to draw them again when the width changes

function drawSegments(found) {
  const overlay = byId("overlay");
  labels = found;
  overlay.setAttribute("viewBox", `0 0 ${found.width} ${found.height}`);
  const shapes = [];
  const items = [];
  found.segments.forEach((segment) => {
    const path = svg("path");
    path.setAttribute("d", segment.path);
    path.classList.toggle("scored", segment.score > 0);
    const name = `${segment.name} ${percent(segment.probability)}`;
    const title = svg("title");
    title.textContent = name;
    path.append(title);
    shapes.push(path);
    const told = segment.score > 0 ? `score ${segment.score}` : `${percent(segment.area)} of the image`;
    const item = element("button", { type: "button" }, element("span", { textContent: name, className: segment.score > 0 ? "scored" : "" }),
      element("span", { className: "faint", textContent: told }));
    const light = (target, event, on) => target.addEventListener(event, () => path.classList.toggle("active", on));
    for (const target of [item, path]) {
      light(target, "pointerenter", true);
      light(target, "pointerleave", false);
    }
    // Only of the button: a path that listens to focus would be a stop of the Tab key.
    light(item, "focus", true);
    light(item, "blur", false);
    items.push(element("li", {}, item));
  });
  overlay.replaceChildren(...shapes.reverse(), ...makeLabels(found));
  byId("segments").replaceChildren(...items);
  const scored = found.segments.filter((s) => s.score > 0).length;
  byId("segments-note").textContent = found.segments.length
    ? `${scored} of ${found.segments.length} score (solid outlines). The percentage is the probability of the class.`
    : "No segments were found.";
}

function makeLabels(found) {
  const made = [];
  const taken = [];
  // Names stay readable where the image is shown smaller than it is.
  const scale = Math.max(1, found.width / (byId("stage").clientWidth || found.width));
  byId("overlay").style.setProperty("--scale", scale);
  found.segments.forEach((segment) => {
    if (segment.score === 0 && segment.area < 0.01) return;
    const half = 4.5 * scale * (segment.name.length + 6);
    const x = Math.min(Math.max(segment.x, half), found.width - half);
    const y = Math.min(Math.max(segment.y + 5, 16 * scale), found.height - 8 * scale);
    const overlaps = taken.some(([a, b, w]) => Math.abs(a - x) < w + half && Math.abs(b - y) < 17 * scale);
    if (overlaps) return;
    taken.push([x, y, half]);
    const text = svg("text");
    text.setAttribute("x", x);
    text.setAttribute("y", y);
    text.textContent = `${segment.name} ${percent(segment.probability)}`;
    made.push(text);
  });
  return made;
}

function drawLabels() {
  if (!labels) return;
  byId("overlay").querySelectorAll("text").forEach((text) => text.remove());
  byId("overlay").append(...makeLabels(labels));
  showLayers();
}

async function showSegments(image, own) {
  const wanted = image.street && run.scores.length > 0;
  for (const id of ["segments-box", "outlines-box", "names-box"]) byId(id).hidden = !wanted;
  byId("scores-box").hidden = !wanted || run.scores.length < 2;
  byId("overlay").replaceChildren();
  labels = null;
  if (!wanted) return;
  const parameters = new URLSearchParams({ scores: byId("scores").value });
  const found = await fetchJson(`/api/images/${image.n}/segments?${parameters}`);
  if (own === drawn) {
    drawSegments(found);
    showLayers();
  }
}

function showLayers() {
  byId("overlay").querySelectorAll("path").forEach((path) => path.classList.toggle("off", !byId("outlines").checked));
  byId("overlay").querySelectorAll("text").forEach((text) => text.classList.toggle("off", !byId("names").checked));
}

let current = null; // the image that is shown
let opened = null; // its number as the address has it; null while the list is shown

async function showImage(n, own) {
  const row = state().get("row");
  const image = await fetchJson(`/api/images/${n}${row ? `?${new URLSearchParams({ row })}` : ""}`);
  if (own !== drawn) return;
  current = image;
  byId("title").textContent = `${image.country_name}: ${image.id}`;
  document.title = `${image.country_name} – Beyond the Image`;
  byId("shown").value = image.street ? currentDataset() : run.datasets[0].key;
  byId("shown").disabled = !image.street;
  byId("model").value = row ?? "";
  const back = state();
  back.delete("image");
  byId("back").href = `#${back}`;
  showLarge(image);
  showAnswers(image);
  showNearest(image);
  showFacts(image);
  showViews(image);
  const place = list.images.findIndex((each) => each.n === image.n);
  byId("before").disabled = place <= 0;
  byId("after").disabled = place < 0 || place + 1 >= list.images.length;
  await showSegments(image, own);
}

function step(by) {
  const place = list.images.findIndex((each) => each.n === current?.n);
  const next = list.images[place + by];
  if (place >= 0 && next) go({ image: next.n });
}

// ----------------------------------------------------------------------------------- drawing

async function draw() {
  const own = ++drawn;
  const wanted = state().get("image");
  const before = byId("detail").hidden;
  try {
    byId("problem").hidden = true;
    showFilters();
    await loadList();
    if (own !== drawn) return;
    if (wanted === null) {
      showList();
    } else {
      await showImage(wanted.replace(/\D/g, "") || "0", own);
      if (own !== drawn) return;
    }
    byId("list").hidden = wanted !== null;
    byId("detail").hidden = wanted === null;
    const first = wanted !== opened;
    opened = wanted;
    if (wanted !== null && first) { byId("title").focus(); window.scrollTo(0, 0); }
    else if (wanted === null && !before) document.querySelector(`a[href$="image=${current?.n}"]`)?.focus();
  } catch (error) {
    if (own !== drawn) return;
    byId("problem").textContent = error.message;
    byId("problem").hidden = false;
  }
}

function listenToControls() {
  byId("filters").addEventListener("change", (event) => {
    const { name, value } = event.target;
    const first = name === "answer" ? "all" : event.target.options[0]?.value;
    const changes = { [name]: value === first ? "" : value, page: "" };
    go(changes);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("reset").addEventListener("click", () => go({}, false));
  byId("previous").addEventListener("click", () => turn(list.page - 1));
  byId("next").addEventListener("click", () => turn(list.page + 1));
  byId("page").addEventListener("change", (event) => turn(Math.trunc(event.target.valueAsNumber) - 1));
  byId("before").addEventListener("click", () => step(-1));
  byId("after").addEventListener("click", () => step(1));
  byId("shown").addEventListener("change", () => showLarge(current));
  byId("model").addEventListener("change", (event) => go({ row: event.target.value }));
  // Followed as a link, it would replace the state in the address.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId(byId("detail").hidden ? "grid" : "title").focus();
  });
  new ResizeObserver(drawLabels).observe(byId("stage"));
  byId("scores").addEventListener("change", () => showSegments(current, drawn));
  for (const id of ["outlines", "names"]) byId(id).addEventListener("change", showLayers);
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select") || event.ctrlKey || event.altKey || event.metaKey) return;
    const open = !byId("detail").hidden;
    if (event.key === "Escape" && open) location.hash = byId("back").hash;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by && open) step(by);
    else if (by && list) turn(list.page + by);
  });
  window.addEventListener("hashchange", draw);
}

async function start() {
  try {
    run = await fetchJson("/api/run");
  } catch (error) {
    byId("problem").textContent = error.message;
    byId("problem").hidden = false;
    return;
  }
  byId("run").textContent = `${run.run}: ${number(run.images)} images`;
  fillFilters();
  listenToControls();
  if (window.matchMedia("(max-width: 52rem)").matches) byId("filter-box").open = false;
  await draw();
}

start();
