// Copyright: (c) 2026, the esync.mesh contributors. GPL-3.0-or-later.
// Draws the matrix and the list of pairs. Every text from outside is set as textContent, nothing is ever parsed as HTML.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  // What html.py replaces, too; with the flag u only lone surrogates match the last range.
  const shown = (text) => text.replace(/[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]/gu, "\ufffd");
  const names = data.names.map(shown);
  const n = names.length;
  const KINDS = { "+": "ok", x: "failed", "?": "untested", ".": "outside" };
  const WORDS = { "+": "ok", x: "failed", "?": "untested", ".": "not in this run" };
  const UNIT = 10; // the drawing's units for each cell
  const LIST_STEP = 15;
  const READABLE = 15; // px: cells that labels fit well
  const TIGHT = 12; // px: and just so
  const TINY = 9; // px: too small for dots
  const LARGE = 200; // servers

  // -- the data, read back ------------------------------------------------------------------------------------

  const codes = data.codes.join("");
  const recordOf = new Int32Array(n * n).fill(-1);
  const causeOf = new Int32Array(n * n).fill(-1);
  data.records.forEach((record, index) => {
    let place = 0;
    for (const step of record[8]) {
      place += step;
      recordOf[place] = index;
      causeOf[place] = record[7];
    }
  });
  // A cell holds one pair, or one for each site of the server that is called. A unit is a pair: the number of its cell,
  // or n * n and the number of its site. Numbers, not objects: 1,000 servers have 999,000 of them.
  const sitesAt = new Map();
  data.sites.forEach((site, index) => {
    if (!sitesAt.has(site[0])) sitesAt.set(site[0], []);
    sitesAt.get(site[0]).push(index);
  });
  const units = [];
  for (let place = 0; place < n * n; place += 1) {
    if (codes[place] === "-") continue;
    const inside = sitesAt.get(place);
    if (inside) for (const index of inside) units.push(n * n + index);
    else units.push(place);
  }
  const siteOf = (unit) => (unit < n * n ? null : data.sites[unit - n * n]);
  const placeIn = (unit) => (unit < n * n ? unit : data.sites[unit - n * n][0]);
  const codeOf = (unit) => (unit < n * n ? codes[unit] : data.sites[unit - n * n][2]);
  const causeIn = (unit) => (unit < n * n ? causeOf[unit] : data.sites[unit - n * n][11]);
  const wrong = (code) => code === "x" || code === "?";

  const pairAt = (place, site) => {
    const from = Math.floor(place / n);
    const to = place % n;
    const record = site ? site.slice(4) : data.records[recordOf[place]] || [0, 0, 0, 0, -1, -1, -1, -1];
    const filled = (number) => {
      const marks = { "\x01": data.names[from], "\x02": data.names[to], "\x03": data.places[to] };
      return shown(data.strings[number].replace(/[\x01\x02\x03]/g, (mark) => marks[mark]));
    };
    const text = (number, usual) => shown(data.strings[number < 0 ? usual : number]);
    // A large mesh has no times.
    const milliseconds = site ? site[3] : data.times[from][to < from ? to : to - 1] ?? -1;
    return {
      from, to, code: site ? site[2] : codes[place], site: site ? shown(data.strings[site[1]]) : "",
      cause: text(record[0]), title: text(record[1]), detail: filled(record[2]), remedy: filled(record[3]),
      tls: text(record[4], data.tls), served: text(record[5], data.serves[to]),
      client: text(record[6], data.presents[from]),
      time: milliseconds < 0 ? "" : `${milliseconds.toLocaleString("en")} ms`,
    };
  };

  // -- small helpers ------------------------------------------------------------------------------------------

  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const SVG = "http://www.w3.org/2000/svg";
  const sign = (kind) => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", `sign ${kind}`);
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS(SVG, "use");
    use.setAttribute("href", `#sign-${kind}`);
    svg.append(use);
    return svg;
  };
  const placeOf = (pair) => (pair.site ? `${names[pair.to]} [${pair.site}]` : names[pair.to]);
  const between = (pair) => [make("bdi", names[pair.from]), make("span", " → ", "arrow"), make("bdi", placeOf(pair))];
  const number = (value) => value.toLocaleString("en");

  // -- the matrix ---------------------------------------------------------------------------------------------

  const body = at("body");
  const plane = at("plane");
  const drawing = at("drawing");
  const labels = { rows: [], columns: [] };
  let chosen = -1;

  const blamed = new Set(data.blamed);
  const bad = (index) => blamed.has(index);

  const buildLabels = () => {
    for (const axis of ["rows", "columns"]) {
      names.forEach((name, index) => {
        const label = make("span");
        label.append(make("bdi", name));
        label.title = name;
        label.style.setProperty("--i", index);
        if (bad(index)) label.className = "bad";
        labels[axis].push(label);
      });
      at(axis).append(...labels[axis]);
    }
  };

  // As many labels as fit: those with a cause first, then evenly; the others show when their row or column is pointed at.
  let kept = [];
  const thin = (cell) => {
    const apart = Math.ceil(16 / cell);
    const taken = new Array(n).fill(false);
    const free = (index) => {
      for (let near = Math.max(0, index - apart + 1); near < Math.min(n, index + apart); near += 1) {
        if (taken[near]) return false;
      }
      return true;
    };
    const order = [...names.keys()];
    for (const wanted of [order.filter(bad), order.filter((index) => index % apart === 0)]) {
      for (const index of wanted) taken[index] = taken[index] || free(index);
    }
    if (cell >= TIGHT) taken.fill(true);
    for (const axis of ["rows", "columns"]) labels[axis].forEach((label, index) => { label.hidden = !taken[index]; });
    kept = taken;
  };

  const layOut = () => {
    const longest = Math.max(...names.map((name) => name.length), 4);
    const label = Math.min(Math.max(longest * 8.4 + 12, 56), 190);
    const top = Math.min(label, 150);
    const aside = at("details").getBoundingClientRect();
    const beside = aside.top < at("left").getBoundingClientRect().bottom ? aside.width + 40 : 0;
    const wide = (at("board").clientWidth - beside - label - 6) / n;
    // As high as the window, too, unless that makes the cells small.
    const high = Math.max((window.innerHeight * 0.94 - top) / n, 18);
    const fit = Math.max(Math.min(wide, high, 40), n > LARGE ? 1 : 3);
    at("zoom-label").hidden = fit >= TIGHT;
    const zoomed = at("zoom").checked && fit < TIGHT;
    const cell = zoomed ? READABLE : fit;
    // Only then: a box that scrolls by itself keeps the heads from staying in view when the page scrolls.
    at("scroll").classList.toggle("wide", cell > wide);
    plane.classList.toggle("tiny", cell < TINY);
    plane.style.setProperty("--n", n);
    plane.style.setProperty("--cell", `${cell}px`);
    plane.style.setProperty("--label", `${label}px`);
    plane.style.setProperty("--top", `${top}px`);
    plane.style.setProperty("--type", `${Math.min(13, Math.max(11, cell * 0.8))}px`);
    thin(cell);
  };

  const draw = (matching) => {
    const paths = { ok: "", failed: "", cross: "", untested: "", outside: "", rest: "", self: "" };
    for (let index = 0; index < n; index += 1) paths.self += `M${index * UNIT} ${index * UNIT}h10v10h-10z`;
    const parts = { ok: [], failed: [], cross: [], untested: [], outside: [], rest: [] };
    const kindAt = (place) => (codes[place] === "-" ? "self" : matching[place] ? KINDS[codes[place]] : "rest");
    for (let row = 0; row < n; row += 1) {
      for (let column = 0; column < n; column += 1) {
        const kind = kindAt(row * n + column);
        const x = column * UNIT;
        const y = row * UNIT;
        // In a large mesh no shape can be seen; what is alike is one line, so that the drawing stays small.
        let end = column;
        if (n > LARGE) while (end + 1 < n && kindAt(row * n + end + 1) === kind) end += 1;
        const long = (end - column) * UNIT;
        column = end;
        if (kind === "self") continue;
        if (kind === "rest" || kind === "ok") parts[kind].push(`M${x + 5} ${y + 5}h${long}`);
        else if (kind === "failed") {
          parts.failed.push(`M${x + 0.5} ${y + 0.5}h${long + 9}v9h${-long - 9}z`);
          if (n <= LARGE) parts.cross.push(`M${x + 3} ${y + 3}l4 4m0-4l-4 4`);
        } else if (kind === "untested") {
          if (n > LARGE) parts.untested.push(`M${x + 0.5} ${y + 1}h${long + 9}v8h${-long - 9}z`);
          else parts.untested.push(`M${x + 5} ${y + 0.4}l4.6 4.6l-4.6 4.6l-4.6-4.6z`);
        } else parts.outside.push(`M${x + 3} ${y + 5}h${long + 4}`);
      }
    }
    for (const kind of Object.keys(parts)) paths[kind] = parts[kind].join("");
    drawing.setAttribute("viewBox", `0 0 ${n * UNIT} ${n * UNIT}`);
    for (const kind of Object.keys(paths)) at(`draw-${kind}`).setAttribute("d", paths[kind]);
  };

  const pointAt = (row, column) => {
    for (const [axis, index] of [["rows", row], ["columns", column]]) {
      labels[axis].forEach((label, one) => {
        if (one !== index && label.classList.contains("at")) {
          label.classList.remove("at");
          label.hidden = !kept[one];
        }
      });
      if (index >= 0) {
        labels[axis][index].classList.add("at");
        labels[axis][index].hidden = false;
      }
    }
    at("across").hidden = at("down").hidden = row < 0;
    plane.style.setProperty("--r", row);
    plane.style.setProperty("--c", column);
    const hover = at("hover");
    hover.replaceChildren();
    if (row >= 0 && row !== column) {
      const place = row * n + column;
      hover.append(sign(KINDS[codes[place]]), ...between({ from: row, to: column }));
    }
  };

  const cellUnder = (event) => {
    const box = body.getBoundingClientRect();
    const inside = (value) => Math.min(n - 1, Math.max(0, Math.floor(value)));
    return [inside(((event.clientY - box.top) / box.height) * n), inside(((event.clientX - box.left) / box.width) * n)];
  };

  const choose = (place) => {
    chosen = place;
    const row = Math.floor(place / n);
    const column = place % n;
    const cursor = at("cursor");
    cursor.hidden = false;
    plane.style.setProperty("--cr", row);
    plane.style.setProperty("--cc", column);
    at("cursor-row").setAttribute("aria-rowindex", row + 1);
    cursor.setAttribute("aria-colindex", column + 1);
    body.setAttribute("aria-activedescendant", "cursor");
    pointAt(row, column);
    const box = at("chosen");
    box.hidden = false;
    box.replaceChildren();
    if (row === column) {
      cursor.setAttribute("aria-label", `${names[row]} itself`);
      box.append(make("h3", names[row]), make("p", "A server does not call itself.", "hint"));
      return;
    }
    const inside = sitesAt.get(place);
    const pairs = inside ? inside.map((index) => pairAt(place, data.sites[index])) : [pairAt(place)];
    const said = pairs.map((pair) => `${WORDS[pair.code]}${pair.title && `, ${pair.title}`}`);
    const spoken = said.map((text, index) => (pairs[index].site ? `${pairs[index].site} ${text}` : text)).join("; ");
    cursor.setAttribute("aria-label", `${names[row]} to ${names[column]}: ${spoken}`);
    for (const pair of pairs) describe(box, pair);
    const back = column * n + row;
    const turn = make("button", undefined);
    turn.type = "button";
    turn.id = "turn";
    turn.append(sign(KINDS[codes[back]]), make("span", "The other direction"));
    turn.addEventListener("click", () => { choose(back); at("turn").focus(); });
    box.append(turn);
  };

  const describe = (box, pair) => {
    const heading = make("h3");
    heading.append(...between(pair));
    const verdict = make("p", undefined, `verdict ${KINDS[pair.code]}`);
    verdict.append(sign(KINDS[pair.code]), make("span", WORDS[pair.code]));
    box.append(heading, verdict);
    if (pair.title) {
      const title = make("p");
      title.append(make("b", pair.title), make("code", pair.cause === pair.title ? "" : ` ${pair.cause}`, "key"));
      box.append(title);
    }
    if (pair.detail) box.append(make("p", pair.detail));
    if (pair.remedy) {
      const remedy = make("p", undefined, "remedy");
      remedy.append(make("b", "What to do"), make("span", pair.remedy));
      box.append(remedy);
    }
    const facts = make("dl");
    const fact = (name, value, className) => {
      if (value) facts.append(make("dt", name), make("dd", value, className));
    };
    fact("Handshake", [pair.time, pair.tls].filter(Boolean).join(", "));
    fact("Certificate that the called server presented (SHA-256)", pair.served, "print");
    fact("Certificate that the caller presented (SHA-256)", pair.client, "print");
    box.append(facts);
  };

  body.addEventListener("mousemove", (event) => pointAt(...cellUnder(event)));
  body.addEventListener("mouseleave", () => (chosen < 0 ? pointAt(-1, -1) : pointAt(Math.floor(chosen / n), chosen % n)));
  body.addEventListener("click", (event) => {
    const [row, column] = cellUnder(event);
    choose(row * n + column);
  });
  body.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const row = chosen < 0 ? 0 : Math.floor(chosen / n);
    const column = chosen < 0 ? 0 : chosen % n;
    const inside = (value) => Math.min(n - 1, Math.max(0, value));
    const to = (one, other) => inside(one) * n + inside(other);
    const next = (step) => {
      for (let count = 1; count <= n * n; count += 1) {
        const place = (((chosen < 0 && step > 0 ? -1 : Math.max(chosen, 0)) + step * count) % (n * n) + n * n) % (n * n);
        if (wrong(codes[place]) && matches[place]) return place;
      }
      return chosen;
    };
    const moves = {
      ArrowUp: () => to(row - 1, column), ArrowDown: () => to(row + 1, column),
      ArrowLeft: () => to(row, column - 1), ArrowRight: () => to(row, column + 1),
      Home: () => to(row, 0), End: () => to(row, n - 1),
      PageUp: () => to(row - 10, column), PageDown: () => to(row + 10, column),
      n: () => next(1), N: () => next(1), p: () => next(-1), P: () => next(-1),
      Enter: () => to(row, column), " ": () => to(row, column),
    };
    if (!Object.hasOwn(moves, event.key)) return;
    event.preventDefault();
    const place = chosen < 0 && event.key.startsWith("Arrow") ? 0 : moves[event.key]();
    if (place < 0) return;
    choose(place);
    at("cursor").scrollIntoView({ block: "nearest", inline: "nearest" });
  });

  // -- the filter and the list --------------------------------------------------------------------------------

  let cause = -1;
  let matches = new Uint8Array(n * n);
  let listed = [];
  let length = LIST_STEP;

  const list = () => {
    const rows = listed.slice(0, length).map((unit) => {
      const place = placeIn(unit);
      const pair = pairAt(place, siteOf(unit));
      const row = make("tr", undefined, KINDS[pair.code]);
      const head = make("th");
      head.scope = "row";
      const button = make("button");
      button.type = "button";
      button.append(make("bdi", names[pair.from]));
      button.setAttribute("aria-label", `${names[pair.from]} to ${placeOf(pair)}: show the details`);
      button.addEventListener("click", () => {
        choose(place);
        body.focus({ preventScroll: true });
        at("cursor").scrollIntoView({ block: "center", inline: "nearest" });
      });
      head.append(button);
      const to = make("td");
      to.append(make("bdi", placeOf(pair)));
      const verdict = make("td");
      verdict.append(sign(KINDS[pair.code]), make("span", WORDS[pair.code]));
      row.append(head, to, verdict, make("td", pair.title), make("td", pair.time, "number"));
      return row;
    });
    at("listed").replaceChildren(...rows);
    at("list").classList.toggle("all-ok", !listed.some((unit) => codeOf(unit) !== "+"));
    at("more").hidden = listed.length <= length;
    at("more").textContent = `Show more (${number(listed.length - Math.min(length, listed.length))} left)`;
  };

  const apply = () => {
    const verdict = at("filter").elements.verdict.value;
    const sought = at("search").value.trim().toLowerCase();
    const found = names.map((name) => !sought || name.toLowerCase().includes(sought));
    matches = new Uint8Array(n * n);
    // By rank; within one the order of the matrix stays.
    const ranked = { x: [], "?": [], ".": [], "+": [] };
    for (const unit of units) {
      const code = codeOf(unit);
      const place = placeIn(unit);
      const fits = (verdict === "all" || (verdict === "wrong" ? wrong(code) : code === verdict || (verdict === "?" && code === ".")))
        && (found[Math.floor(place / n)] || found[place % n]) && (cause < 0 || causeIn(unit) === cause);
      if (!fits) continue;
      matches[place] = 1;
      ranked[code].push(unit);
    }
    listed = ranked.x.concat(ranked["?"], ranked["."], ranked["+"]);
    length = LIST_STEP;
    at("count").textContent = `${number(listed.length)} of ${number(units.length)} pairs`;
    at("only").hidden = cause < 0;
    draw(matches);
    list();
  };

  at("filter").addEventListener("submit", (event) => event.preventDefault());
  at("filter").addEventListener("input", (event) => (event.target.id === "zoom" ? layOut() : apply()));
  at("only").addEventListener("click", () => { cause = -1; apply(); });
  at("more").addEventListener("click", () => { length += 500; list(); });
  for (const button of document.querySelectorAll("button[data-cause]")) {
    button.addEventListener("click", () => {
      cause = Number(button.dataset.cause);
      at("filter").elements.verdict.value = "all";
      at("search").value = "";
      at("only").textContent = "one cause only ✕";
      at("only").setAttribute("aria-label", "One cause only: show all pairs again");
      apply();
      if (listed.length) choose(placeIn(listed[0]));
      at("pairs").scrollIntoView();
      body.focus({ preventScroll: true });
      at("cursor").scrollIntoView({ block: "nearest", inline: "nearest" });
    });
  }

  // -- copying ------------------------------------------------------------------------------------------------

  // A page that came over plain http may not use the clipboard; the selection of the text serves there as well.
  const copy = async (code) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return true;
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      const selection = window.getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      return document.execCommand("copy");
    }
  };
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.setAttribute("aria-label", `Copy the command ${button.previousElementSibling.textContent}`);
    button.addEventListener("click", async () => {
      button.textContent = (await copy(button.previousElementSibling)) ? "Copied" : "Selected";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  if (n > 1) {
    for (const id of ["filter", "board", "list"]) at(id).hidden = false;
    body.setAttribute("aria-rowcount", n);
    body.setAttribute("aria-colcount", n);
    buildLabels();
    layOut();
    apply();
    window.addEventListener("resize", layOut);
  }
})();
