"use strict";
// Draws the page from the object in #data, which a3c_fast/report.py writes. Nothing is fetched.

const data = JSON.parse(document.getElementById("data").textContent);
const runs = data.runs;
const state = { axis: "step", measure: "return", hidden: new Set(), focus: null };
const charts = []; // of the page: {draw(), hover(x or null)}
const tooltip = document.getElementById("tooltip");
const by = (id) => document.getElementById(id);
const color = (i) => `var(--run-${i % 8})`;
const dashes = (i) => (i < 8 ? "" : "6 4"); // colours come again from the ninth run on
const sum = (values) => values.reduce((a, b) => a + b, 0);
const known = (value) => value !== null && value !== undefined;

// Text ----------------------------------------------------------------------------------------------------------------

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) made.style.setProperty(name, value);
    else made.setAttribute(name, value);
  }
  made.append(...children.filter(known));
  return made;
}

function svg(tag, attributes = {}, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

function short(value) {
  const size = Math.abs(value);
  for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]])
    if (size >= unit) return `${+(value / (letter === "k" ? 1e3 : unit)).toPrecision(3)}${letter}`;
  return size !== 0 && size < 1e-3 ? (+value.toPrecision(2)).toExponential().replace("e-", "e−") : long(value);
}

function long(value, digits = 4) {
  if (!known(value)) return "–";
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(2);
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toLocaleString("en", { maximumFractionDigits: Math.min(decimals, 6) });
}

function time(minutes) {
  if (minutes < 1) return `${Math.round(minutes * 60)} s`;
  if (minutes < 100) return `${+minutes.toPrecision(3)} min`;
  return `${Math.floor(minutes / 60)} h ${Math.round(minutes % 60)} min`;
}

const percent = (value) => `${(100 * value).toLocaleString("en", { maximumFractionDigits: value < 0.1 ? 1 : 0 })}%`;
const date = (seconds) => new Date(1000 * seconds).toISOString().slice(0, 16).replace("T", " ") + " UTC";

// Scales --------------------------------------------------------------------------------------------------------------

function ticks(low, high, most) {
  const raw = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(+(i * step).toPrecision(12));
  return found;
}

// The position on the axis that is shown, of an agent step of a run.
function place(run, step) {
  if (state.axis === "step") return step;
  const { step: steps, minutes } = run.series;
  if (!steps.length) return 0;
  let above = steps.findIndex((at) => at >= step);
  if (above < 0) return minutes[minutes.length - 1];
  const [s, m] = above ? [steps[above - 1], minutes[above - 1]] : [0, 0];
  return steps[above] === s ? minutes[above] : m + ((minutes[above] - m) * (step - s)) / (steps[above] - s);
}

const xs = (run) => run.series[state.axis];

function nearest(values, x) {
  let low = 0, high = values.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] < x) low = middle;
    else high = middle;
  }
  return Math.abs(values[low] - x) <= Math.abs(values[high] - x) ? low : high;
}

// Means over a fiftieth of the curve, for what is mostly noise.
function smoothed(values) {
  const reach = Math.floor(values.length / 100);
  if (!reach) return values;
  const totals = [0], counts = [0];
  values.forEach((value, i) => {
    totals.push(totals[i] + (known(value) ? value : 0));
    counts.push(counts[i] + known(value));
  });
  return values.map((value, i) => {
    const [from, to] = [Math.max(0, i - reach), Math.min(values.length, i + reach + 1)];
    return known(value) ? (totals[to] - totals[from]) / (counts[to] - counts[from]) : null;
  });
}

function scaled(run) { // returns as they are, or 0 for random play and 1 for the human
  if (state.measure === "return") return (value) => value;
  const [random, human] = run.human;
  return (value) => (known(value) ? (value - random) / (human - random) : value);
}

// A chart -------------------------------------------------------------------------------------------------------------

// `lines(run)` gives the values of a run in the order of its steps; `spread(run)` what they may be off by, or null.
function chart(host, { lines, spread = () => null, height, points = () => [], references = () => [], marks = false, robust = false,
    format = long, tick = short, zero = false, name }) {
  const clip = `clip-${charts.length}`;
  let toX, toY, limits, layer;

  function domain(shown) {
    const values = [], wide = [];
    for (const run of shown) {
      const of = lines(run), off = spread(run);
      of.forEach((value, i) => {
        if (!known(value)) return;
        values.push(value);
        if (off && known(off[i])) wide.push(value - off[i], value + off[i]);
      });
      for (const point of points(run)) wide.push(point.mean - point.std, point.mean + point.std);
    }
    if (!values.length && !wide.length) return null;
    let all = [...values, ...wide].sort((a, b) => a - b);
    if (robust && all.length > 50) all = all.slice(Math.floor(all.length * 0.004), Math.ceil(all.length * 0.996));
    let [low, high] = [all[0], all[all.length - 1]];
    for (const { value } of references()) { // those that are near enough for the curves to be seen beside them
      const range = high - low || Math.abs(high) || 1;
      if (value > high && value - high < 1.2 * range) high = value;
      if (value < low && low - value < 1.2 * range) low = value;
    }
    if (zero) low = Math.min(0, low);
    if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
    const room = 0.04 * (high - low);
    return [zero && low === 0 ? 0 : low - room, high + room];
  }

  function draw() {
    const shown = runs.filter((run) => !state.hidden.has(run.id) && xs(run).length);
    const width = host.clientWidth || 600;
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": name });
    host.replaceChildren(picture);
    limits = null;
    const vertical = domain(shown);
    if (!vertical) {
      picture.append(svg("text", { x: width / 2, y: height / 2, "text-anchor": "middle", class: "empty" }, "nothing yet"));
      return;
    }
    const [low, high] = vertical;
    const end = Math.max(...shown.map((run) => xs(run)[xs(run).length - 1]), 1e-9);
    const yTicks = ticks(low, high, height > 200 ? 6 : 3);
    const labels = yTicks.map(tick);
    const left = 10 + 7 * Math.max(...labels.map((label) => label.length)), right = width - 10, top = 8, bottom = height - 22;
    toX = (x) => left + ((right - left) * x) / end;
    toY = (y) => bottom - ((bottom - top) * (y - low)) / (high - low);
    limits = { left, right, top, bottom, end };
    const box = svg("clipPath", { id: clip });
    box.append(svg("rect", { x: left, y: top - 2, width: right - left + 8, height: bottom - top + 4 }));
    picture.append(box);
    yTicks.forEach((value, i) => {
      picture.append(svg("line", { x1: left, x2: right, y1: toY(value), y2: toY(value), class: "grid" }));
      picture.append(svg("text", { x: left - 7, y: toY(value) + 4, "text-anchor": "end" }, labels[i]));
    });
    const xTicks = ticks(0, end, Math.max(2, Math.floor((right - left) / 110)));
    for (const value of xTicks) {
      const text = state.axis === "step" ? short(value) : `${long(value)}${value === xTicks[xTicks.length - 1] ? " min" : ""}`;
      const anchor = value === 0 ? "start" : toX(value) > right - 26 ? "end" : "middle";
      picture.append(svg("text", { x: toX(value), y: height - 4, "text-anchor": anchor }, text));
    }
    picture.append(svg("line", { x1: left, x2: right, y1: bottom, y2: bottom, class: "base" }));

    const curves = svg("g", { "clip-path": `url(#${clip})` });
    picture.append(curves);
    for (const run of shown) drawRun(curves, run);
    for (const { value, label } of references()) {
      const inside = value >= low && value <= high;
      const y = inside ? toY(value) : value > high ? top : bottom;
      if (inside) picture.append(svg("line", { x1: left, x2: right, y1: y, y2: y, class: "reference" }));
      const text = inside ? label : `${label} ${value > high ? "↑" : "↓"}`;
      const at = y - 5 < top + 8 ? y + 14 : y - 5;
      picture.append(svg("text", { x: right, y: at, "text-anchor": "end", class: "reference-name" }, text));
    }
    layer = svg("g");
    picture.append(layer);
  }

  function drawRun(into, run) {
    const x = xs(run), y = lines(run), off = spread(run);
    const faded = state.focus !== null && state.focus !== run.id;
    const group = svg("g", { opacity: faded ? 0.13 : 1, style: `color: ${color(run.id)}` });
    into.append(group);
    if (off) {
      let up = "", down = "", area = "";
      const flush = () => { if (up) area += `M${up.slice(1)}${down}Z`; up = down = ""; };
      x.forEach((at, i) => {
        if (!known(y[i]) || !known(off[i])) return flush();
        up += `L${toX(at).toFixed(1)} ${toY(y[i] + off[i]).toFixed(1)}`;
        down = `L${toX(at).toFixed(1)} ${toY(y[i] - off[i]).toFixed(1)}${down}`;
        return null;
      });
      flush();
      if (area) group.append(svg("path", { d: area, fill: "currentColor", opacity: state.focus === run.id ? 0.22 : 0.12 }));
    }
    const line = (values, attributes) => {
      let path = "", pen = "M";
      x.forEach((at, i) => {
        if (known(values[i])) path += `${pen}${toX(at).toFixed(1)} ${toY(values[i]).toFixed(1)}`;
        pen = known(values[i]) ? "L" : "M";
      });
      if (path) group.append(svg("path", { d: path, fill: "none", stroke: "currentColor", "stroke-linejoin": "round", ...attributes }));
    };
    const thick = height > 200 ? 2 : 1.5;
    if (robust) line(y, { "stroke-width": 1, opacity: 0.22 });
    line(robust ? smoothed(y) : y, { "stroke-width": thick, "stroke-dasharray": dashes(run.id) });
    if (marks) {
      for (const { step } of run.resumes) {
        const at = toX(place(run, step));
        const upright = { x1: at, x2: at, y1: limits.top, y2: limits.bottom, stroke: "currentColor", "stroke-dasharray": "3 3", opacity: 0.65 };
        group.append(svg("line", upright));
      }
      for (const change of run.changes) {
        const at = toX(place(run, change.step)), y0 = limits.bottom;
        group.append(svg("path", { d: `M${at} ${y0 - 12}l5 6l-5 6l-5 -6z`, fill: "currentColor" }));
      }
    }
    for (const point of points(run)) {
      const at = toX(place(run, point.step)), [y0, y1, y2] = [-1, 0, 1].map((n) => toY(point.mean + n * point.std));
      group.append(svg("path", { d: `M${at} ${y0}V${y2}M${at - 3} ${y0}h6M${at - 3} ${y2}h6`, stroke: "currentColor", fill: "none" }));
      group.append(svg("circle", { cx: at, cy: y1, r: 4.5, fill: point.best ? "currentColor" : "var(--surface)", stroke: "currentColor", "stroke-width": 2 }));
    }
  }

  function hover(x) {
    if (!limits) return;
    layer.replaceChildren();
    if (x === null || x > limits.end) return;
    layer.append(svg("line", { x1: toX(x), x2: toX(x), y1: limits.top, y2: limits.bottom, class: "cross" }));
    for (const run of runs) {
      if (state.hidden.has(run.id) || !xs(run).length || x > xs(run)[xs(run).length - 1] * 1.01) continue;
      const i = nearest(xs(run), x), value = lines(run)[i];
      if (!known(value)) continue;
      const y = Math.max(limits.top, Math.min(limits.bottom, toY(value)));
      layer.append(svg("circle", { cx: toX(xs(run)[i]), cy: y, r: 4, fill: color(run.id), stroke: "var(--surface)", "stroke-width": 1.5 }));
    }
  }

  function tell(event) {
    if (!limits) return;
    const at = event.clientX - host.getBoundingClientRect().left;
    const x = ((at - limits.left) / (limits.right - limits.left)) * limits.end;
    if (x < 0 || x > limits.end) { quiet(); return; }
    for (const each of charts) each.hover(x);
    const rows = [element("b", {}, state.axis === "step" ? `step ${Math.round(x).toLocaleString("en")}` : time(x))];
    const near = limits.end * 9 / (limits.right - limits.left);
    for (const run of runs) {
      if (state.hidden.has(run.id) || !xs(run).length || x > xs(run)[xs(run).length - 1] + near) continue;
      const i = nearest(xs(run), x), off = spread(run);
      const value = lines(run)[i];
      const more = off && known(off[i]) ? ` ± ${format(off[i])}` : "";
      rows.push(row(run, run.name, known(value) ? `${format(value)}${more}` : "–"));
      const close = (step) => Math.abs(place(run, step) - x) < near;
      for (const point of points(run).filter((p) => close(p.step)))
        rows.push(row(null, `evaluation${point.best ? ", the best" : ""}`, `${format(point.mean)} ± ${format(point.std)}`));
      if (!marks) continue;
      for (const change of run.changes.filter((c) => close(c.step)))
        rows.push(row(null, `${change.name} changed at ${change.step.toLocaleString("en")}`, setting(change.value)));
      for (const resume of run.resumes.filter((r) => close(r.step)))
        rows.push(row(null, "resumed", `at ${resume.step.toLocaleString("en")}`));
    }
    show(event, rows);
  }

  host.addEventListener("pointermove", tell);
  host.addEventListener("pointerdown", tell);
  host.addEventListener("pointerleave", quiet);
  charts.push({ draw, hover });
}

function row(run, label, value) {
  const dot = run ? element("i", { class: "dot", "--color": color(run.id) }) : null;
  return element("div", { class: run ? "row" : "row faint" }, element("span", {}, dot, label), element("span", {}, value));
}

function show(event, rows) {
  tooltip.replaceChildren(...rows);
  tooltip.style.display = "block";
  const { width, height } = tooltip.getBoundingClientRect();
  const right = event.clientX + 16 + width < window.innerWidth;
  tooltip.style.left = `${Math.max(6, right ? event.clientX + 16 : event.clientX - width - 16)}px`;
  tooltip.style.top = `${Math.max(6, Math.min(event.clientY + 14, window.innerHeight - height - 6))}px`;
}

function quiet() {
  tooltip.style.display = "none";
  for (const each of charts) each.hover(null);
}

const redraw = () => charts.forEach((each) => each.draw());

// The parts of the page -----------------------------------------------------------------------------------------------

function setting(value) {
  if (value === null) return "–";
  if (Number.isInteger(value) && Math.abs(value) >= 1e4) return value.toLocaleString("en");
  if (typeof value === "number" || typeof value === "string") return String(value);
  return JSON.stringify(value);
}

function header() {
  by("title").textContent = data.title;
  by("subtitle").textContent = data.subtitle;
  by("footer").textContent = `a3c-fast ${data.version}, ${data.made}`;
  by("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });
}

function cards() {
  for (const run of runs) {
    const score = run.score;
    const facts = [["steps", short(run.step)], ["training", time(run.minutes)], ["steps a second", long(run.rate)]];
    if (known(run.episodes)) facts.push(["episodes", short(run.episodes)]);
    const big = score
      ? element("div", { class: "big" }, long(score.mean), known(score.std) ? element("small", {}, ` ± ${long(score.std, 3)}`) : null)
      : element("div", { class: "big" }, "–");
    const human = score && known(score.human) ? `, ${percent(score.human)} of human` : "";
    by("cards").append(element("article", { class: "card", "--color": color(run.id) },
      element("div", { class: "name" }, run.name),
      element("div", { class: "of" }, `${run.env}, seed ${run.seed}`),
      big,
      element("div", { class: "what" }, score ? score.what + human : "no episode has ended yet"),
      element("dl", {}, ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))))));
  }
}

function legend() {
  if (runs.length < 2) { by("legend").remove(); return; }
  const focus = (id) => () => { state.focus = state.hidden.has(id) ? null : id; redraw(); };
  for (const run of runs) {
    const toggle = (event) => {
      state.hidden.has(run.id) ? state.hidden.delete(run.id) : state.hidden.add(run.id);
      event.currentTarget.setAttribute("aria-pressed", String(!state.hidden.has(run.id)));
      state.focus = null;
      redraw();
    };
    by("legend").append(element("button", { type: "button", "aria-pressed": "true", onclick: toggle, "--color": color(run.id),
      onpointerenter: (event) => { if (event.pointerType === "mouse") focus(run.id)(); },
      onpointerleave: (event) => { if (event.pointerType === "mouse") { state.focus = null; redraw(); } } },
      element("i"), element("span", {}, run.name)));
  }
}

function choice(id, key, options) {
  for (const [value, text] of options)
    by(id).append(element("button", { type: "button", "aria-pressed": String(state[key] === value), onclick: (event) => {
      state[key] = value;
      for (const each of by(id).children) each.setAttribute("aria-pressed", String(each === event.currentTarget));
      redraw();
    } }, text));
}

function returns() {
  choice("axis", "axis", [["step", "steps"], ["minutes", "minutes"]]);
  if (runs.every((run) => run.human)) choice("measure", "measure", [["return", "return"], ["human", "human-normalized"]]);
  const width = (run, value) => (state.measure === "return" || !known(value) ? value : value / (run.human[1] - run.human[0]));
  const same = runs.every((run) => run.env === runs[0].env && run.human);
  chart(by("return"), {
    name: "Return", height: window.innerWidth < 620 ? 290 : 390, marks: true,
    format: (value) => (state.measure === "return" ? long(value) : percent(value)),
    tick: (value) => (state.measure === "return" ? short(value) : percent(value)),
    lines: (run) => run.series.mean_return_100.map(scaled(run)),
    spread: (run) => run.series.std_return_100.map((value) => width(run, value)),
    points: (run) => run.evaluations.map((e) => ({ ...e, mean: scaled(run)(e.mean), std: width(run, e.std) })),
    references: () => {
      if (state.measure === "human") return [{ value: 1, label: "human" }, { value: 0, label: "random play" }];
      if (!same) return [];
      const [random, human] = runs[0].human;
      return [{ value: human, label: `human ${long(human)}` }, { value: random, label: `random play ${long(random)}` }];
    },
  });
  const parts = ["Line: mean return of the last 100 training episodes"];
  if (runs.some((run) => run.series.std_return_100.some(known))) parts[0] += ", band: one standard deviation of them";
  if (runs.some((run) => run.evaluations.length)) parts.push("Points: evaluations, with one standard deviation; the filled one is the best");
  if (runs.some((run) => run.resumes.length)) parts.push("Dashed: the run was resumed");
  if (runs.some((run) => run.changes.length)) parts.push("Diamonds: a setting was changed");
  by("return-note").textContent = `${parts.join(". ")}.`;
}

function multiples() {
  const titles = [
    ["steps_per_second", "Steps a second", "", { zero: true }],
    ["entropy", "Entropy", "nats", {}],
    ["policy_loss", "Policy loss", "", { robust: true }],
    ["value_loss", "Value loss", "", { robust: true, zero: true }],
    ["grad_norm", "Gradient norm", "before clipping", { robust: true, zero: true }],
    ["learning_rate", "Learning rate", "", { zero: true }],
    ["entropy_coef", "Entropy coefficient", "", { zero: true }],
    ["mean_length_100", "Episode length", "last 100, in steps", { zero: true }],
  ];
  for (const [key, title, unit, options] of titles) {
    if (!runs.some((run) => run.series[key].some(known))) continue;
    const host = element("div", { class: "chart" });
    by("multiples").append(element("article", { class: "multiple" }, element("h2", {}, title, element("small", {}, unit)), host));
    chart(host, { name: title, height: 150, lines: (run) => run.series[key], ...options });
  }
}

function stages() {
  const timed = runs.filter((run) => run.stages.length);
  if (!timed.length) { by("stages-panel").remove(); return; }
  const names = data.stage_groups;
  for (const run of timed) {
    const whole = sum(run.stages.map((stage) => stage.seconds));
    const shares = names.map((_, i) => sum(run.stages.filter((stage) => stage.group === i).map((stage) => stage.seconds)) / whole);
    const bar = element("div", { class: "stages" });
    shares.forEach((share, i) => {
      if (!share) return;
      const part = element("div", { class: `s${i}`, style: `flex: ${share} 0 0` }, share > 0.07 ? percent(share) : "");
      const rows = () => [element("b", {}, `${names[i]}: ${percent(share)}`), ...run.stages.filter((stage) => stage.group === i)
        .sort((a, b) => b.seconds - a.seconds).slice(0, 9).map((stage) => row(null, stage.name.replaceAll("_", " "), percent(stage.seconds / whole)))];
      part.addEventListener("pointermove", (event) => show(event, rows()));
      part.addEventListener("pointerleave", quiet);
      bar.append(part);
    });
    by("stages").append(element("div", { class: "stage-row" },
      element("div", { class: "label" }, element("span", {}, run.name), element("span", {}, `${time(whole / 60)} of all workers together`)), bar));
  }
  by("stages").append(element("div", { class: "key" }, ...names.map((name, i) => element("span", {}, element("i", { class: `s${i}` }), name))));
  const every = [...new Set(timed.flatMap((run) => run.stages.map((stage) => stage.name)))];
  const share = (run, name) => {
    const found = run.stages.find((stage) => stage.name === name);
    return found ? percent(found.seconds / sum(run.stages.map((stage) => stage.seconds))) : "–";
  };
  by("stages").append(element("details", {}, element("summary", {}, "Every stage"), element("div", { class: "scroll" },
    table(["stage", ...timed.map((run) => run.name)], every.map((name) => [name.replaceAll("_", " "), ...timed.map((run) => share(run, name))]), 1))));
}

function table(heads, rows, firstNumber = 99) {
  const kind = (i) => (i >= firstNumber ? { class: "number" } : {});
  return element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map((head, i) => element("th", kind(i), head)))),
    element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map((cell, i) => element("td", kind(i), cell))))));
}

const named = (run) => element("span", {}, element("i", { class: "dot", "--color": color(run.id) }), run.name);

function evaluations() {
  const human = runs.some((run) => run.human);
  const rows = runs.flatMap((run) => run.evaluations.map((e) => [named(run), e.step.toLocaleString("en"), time(e.minutes),
    `${long(e.mean)} ± ${long(e.std, 3)}`, ...(human ? [known(e.human) ? percent(e.human) : "–"] : []), String(e.episodes ?? "–"),
    e.best ? "best" : ""]));
  if (!rows.length) { by("evaluations-panel").remove(); return; }
  const heads = ["run", "step", "training", "mean return", ...(human ? ["of human"] : []), "episodes", ""];
  by("evaluations").append(table(heads, rows, 1));
}

function history() {
  const rows = runs.flatMap((run) => {
    const sessions = run.sessions.map((s, i) => [s.first_step, i ? "resumed" : "begun",
      `${date(s.began)}, ${s.cores} core${s.cores === 1 ? "" : "s"}, ${s.kernels} kernels, a3c-fast ${s.versions["a3c_fast"] ?? "?"}, torch ${s.versions["torch"] ?? "?"}`]);
    const changes = run.changes.map((c) => [c.step, "changed", `${c.name} to ${setting(c.value)}`]);
    return [...sessions, ...changes].sort((a, b) => a[0] - b[0])
      .map(([step, what, how]) => [named(run), step.toLocaleString("en"), what, how]);
  });
  if (!rows.length) { by("history-panel").remove(); return; }
  by("history").append(table(["run", "step", "", ""], rows));
}

function videos() {
  const shown = runs.filter((run) => run.video);
  if (!shown.length) { by("videos-panel").remove(); return; }
  for (const run of shown) {
    const moving = run.video.source.startsWith("data:video")
      ? element("video", { src: run.video.source, controls: "", loop: "", playsinline: "", preload: "auto" })
      : element("img", { src: run.video.source, alt: `${run.name} plays` });
    if (moving.play && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
      moving.muted = true;
      moving.play().catch(() => {}); // a browser may want to be asked
    }
    by("videos").append(element("figure", {}, moving, element("figcaption", {}, named(run), ` ${run.video.name}`)));
  }
}

function settings() {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.config)))];
  const box = by("only-different").querySelector("input");
  if (runs.length < 2) by("only-different").remove();
  else box.checked = true;
  const draw = () => {
    const rows = names.flatMap((name) => {
      const texts = runs.map((run) => (name in run.config ? setting(run.config[name]) : "not there"));
      const different = new Set(texts).size > 1;
      if (runs.length > 1 && box.checked && !different) return [];
      const cells = texts.map((text) => element("td", text === texts[0] ? {} : { class: "other" }, text));
      return [element("tr", different ? { class: "different" } : {}, element("th", {}, name), ...cells)];
    });
    const heads = element("thead", {}, element("tr", {}, element("th", {}, ""), ...runs.map((run) => element("th", {}, named(run)))));
    by("settings").replaceChildren(rows.length ? element("table", {}, heads, element("tbody", {}, ...rows)) : "No setting differs.");
  };
  box.addEventListener("change", draw);
  draw();
}

header(); cards(); legend(); returns(); multiples(); stages(); videos(); evaluations(); history(); settings();
redraw();
let last = window.innerWidth;
window.addEventListener("resize", () => { if (window.innerWidth !== last) { last = window.innerWidth; redraw(); } });
window.addEventListener("scroll", quiet, { passive: true });
