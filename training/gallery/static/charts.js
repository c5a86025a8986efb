"use strict";
// Elements and charts. A chart is an SVG of lines with a readout where the pointer is.

const COLOURS = ["#2f6fde", "#d1600a", "#0f8a6c", "#b0418f", "#8a6d1b", "#5b5bd6", "#c2352e", "#4f7f1f"];

function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key.startsWith("aria-") && value !== null && value !== undefined) made.setAttribute(key, String(value));
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const short = (value) => {
  const size = Math.abs(value);
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  return size && size < 1e-3 ? value.toExponential(1) : `${+value.toPrecision(4)}`;
};

function ticks(low, high, about) {
  const raw = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step) found.push(at);
  return found;
}

// Exponential average, as TensorBoard's: without bias at the start.
function smoothed(points, weight) {
  let sum = 0, norm = 0;
  return points.map(([x, y]) => {
    sum = sum * weight + (1 - weight) * y;
    norm = norm * weight + (1 - weight);
    return [x, sum / norm];
  });
}

/* series: [{name, colour, points: [[x, y, low?, high?]], faint?: [[x, y]], dashed?}]. limits: {low, high} of y, or {}.
   x, y: the names of the axes. whole: x are whole numbers. */
function chart(series, { title = "", x = "step", unit = "", limits = {}, whole = false } = {}) {
  const [width, height, left, right, top, bottom] = [420, 230, 46, 12, 12, 30];
  const all = series.flatMap((one) => [...one.points, ...(one.faint || [])]);
  const xs = all.map((p) => p[0]), ys = series.flatMap((one) => one.points.flatMap((p) => p.slice(1)));
  let [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  let low = limits.low ?? Math.min(...ys), high = limits.high ?? Math.max(...ys);
  if (x0 === x1) { x0 -= 0.5; x1 += 0.5; }
  if (low === high) { low -= Math.abs(low) / 10 || 1; high += Math.abs(high) / 10 || 1; }
  if (limits.low === undefined) { const room = (high - low) * 0.06; low -= room; high += room; }
  const px = (v) => left + ((v - x0) / (x1 - x0)) * (width - left - right);
  const py = (v) => top + (1 - (v - low) / (high - low)) * (height - top - bottom);
  const clamp = (v) => Math.min(height - bottom, Math.max(top, py(v)));
  const line = (points) => points.map((p, i) => `${i ? "L" : "M"}${px(p[0]).toFixed(1)} ${clamp(p[1]).toFixed(1)}`).join("");

  const picture = drawn("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": title });
  for (const at of ticks(low, high, 4)) {
    picture.append(drawn("line", { x1: left, x2: width - right, y1: py(at), y2: py(at), class: "grid" }),
      drawn("text", { x: left - 6, y: py(at) + 3.5, class: "label end" }, `${short(at)}${unit}`));
  }
  for (const at of ticks(x0, x1, whole ? Math.min(8, Math.max(1, x1 - x0)) : 5)) {
    if (whole && at % 1) continue;
    picture.append(drawn("text", { x: px(at), y: height - bottom + 15, class: "label middle" }, short(at)));
  }
  picture.append(drawn("text", { x: width - right, y: height - 3, class: "label end" }, x));
  for (const one of series) {
    for (const [at, , under, over] of one.points) {
      if (under !== undefined)
        picture.append(drawn("line", { x1: px(at), x2: px(at), y1: clamp(under), y2: clamp(over), stroke: one.colour, class: "whisker" }));
    }
    if (one.faint) picture.append(drawn("path", { d: line(one.faint), stroke: one.colour, class: "line faint" }));
    picture.append(drawn("path", { d: line(one.points), stroke: one.colour, class: one.dashed ? "line dashed" : "line" }));
    if (one.points.length <= 40)
      picture.append(...one.points.map((p) => drawn("circle", { cx: px(p[0]), cy: clamp(p[1]), r: 2.6, fill: one.colour })));
  }
  const cursor = drawn("line", { y1: top, y2: height - bottom, class: "cursor", visibility: "hidden" });
  picture.append(cursor);
  const readout = el("div", { class: "readout", hidden: true });
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const at = x0 + (((event.clientX - box.left) / box.width) * width - left) / (width - left - right) * (x1 - x0);
    const near = series.map((one) => [one, one.points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a))]);
    const here = near.reduce((a, b) => (Math.abs(b[1][0] - at) < Math.abs(a[1][0] - at) ? b : a))[1][0];
    cursor.setAttribute("x1", px(here)); cursor.setAttribute("x2", px(here)); cursor.setAttribute("visibility", "visible");
    readout.replaceChildren(el("b", {}, `${x} ${short(here)}`), ...near.map(([one, p]) => {
      const dot = el("i", { class: "dot" });
      dot.style.background = one.colour;
      return el("span", {}, dot, `${one.name}: ${short(p[1])}${unit}`);
    }));
    readout.hidden = false;
    readout.classList.toggle("left", event.clientX - box.left > box.width / 2);
  });
  picture.addEventListener("pointerleave", () => { readout.hidden = true; cursor.setAttribute("visibility", "hidden"); });
  return el("figure", { class: "plot" }, title ? el("figcaption", {}, title) : null, el("div", { class: "canvas" }, picture, readout));
}

function legend(series, toggle) {
  return el("div", { class: "legend" }, series.map((one) => {
    const dot = el("i", { class: "dot" });
    dot.style.background = one.colour;
    return toggle
      ? el("button", { class: "key", "aria-pressed": !one.hidden, onclick: () => toggle(one), title: one.name }, dot, one.name)
      : el("span", { class: "key" }, dot, one.name);
  }));
}
