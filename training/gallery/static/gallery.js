"use strict";
// The page of a gallery: episodes, two policies side by side, training curves, generations.

const PAGE = 60; // cards that are shown at first, and added by "Show more"
const WORDS = { success: "✓ done", failure: "✗ failed", open: "? not judged", interrupted: "■ interrupted" };
const AGREEMENT = { agrees: "judge agrees with truth", fooled: "judge fooled", missed: "judge missed a success", none: "no judge or no truth" };
const main = document.getElementById("main"), detail = document.getElementById("detail");
let data = null;

const last = (name) => (name.length > 34 ? `…${name.slice(-33)}` : name);
const time = (seconds) => (seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`);
const share = (rate, name = "rate") => {
  const value = rate && (rate[name] ?? rate.success ?? rate.rate);
  return value === null || value === undefined ? "–" : `${(100 * value).toFixed(0)} % (${(100 * rate.ci[0]).toFixed(0)}–${(100 * rate.ci[1]).toFixed(0)})`;
};
const counted = (items) => [...items.reduce((map, item) => map.set(item, (map.get(item) || 0) + 1), new Map())].sort((a, b) => b[1] - a[1]);

// Pictures

function screen(one, { badge = true } = {}) {
  const score = one.judged.find((said) => said.value !== null);
  const made = el("div", { class: "screen" },
    one.thumb ? el("img", { src: one.thumb, loading: "lazy", alt: "" }) : null,
    badge ? el("span", { class: `badge pill ${one.outcome}` }, WORDS[one.outcome]) : null,
    score ? el("span", { class: `judge pill ${one.agreement}`, title: `${score.reward}: ${AGREEMENT[one.agreement || "none"]}` },
      `${one.agreement === "fooled" || one.agreement === "missed" ? "⚠ " : ""}judge ${score.value.toFixed(0)}`) : null,
    el("span", { class: "time pill" }, time(one.seconds)));
  return made;
}

function play(box, one) {
  if (!one.video || box.querySelector("video")) return;
  const film = el("video", { src: one.video, loop: true, playsinline: true, preload: "auto" });
  film.muted = true;
  film.addEventListener("playing", () => (film.style.opacity = 1));
  film.style.opacity = 0; // the thumbnail stays until there is something to see
  box.querySelector("img")?.after(film);
  film.play().catch(() => {});
}

const rest = (box) => box.querySelector("video")?.remove();

function moving(target, boxes) {
  const over = () => boxes.forEach(([box, one]) => play(box, one));
  const out = () => boxes.forEach(([box]) => rest(box));
  for (const [event, what] of [["pointerenter", over], ["focusin", over], ["pointerleave", out], ["focusout", out]]) target.addEventListener(event, what);
}

function card(one, open) {
  const box = screen(one);
  const made = el("button", { class: "card", onclick: open, "data-name": one.name }, box, el("div", { class: "text" },
    el("b", {}, one.instruction || "no instruction"),
    one.why ? el("span", { class: { success: "good", failure: "bad" }[one.outcome] || "soft" }, one.why) : null,
    el("span", { class: "soft", title: one.policy }, last(one.policy))));
  moving(made, [[box, one]]);
  return made;
}

// One episode

function show(list, at) {
  const one = list[at];
  const film = el("video", { src: one.video, controls: true, loop: true, playsinline: true, autoplay: true });
  film.muted = true;
  const facts = { policy: one.policy, world: one.world, verb: one.verb, level: one.seed, length: `${time(one.seconds)}, ${one.ticks} ticks, ${one.decisions} decisions`,
    recorded: one.created.slice(0, 19).replace("T", " "), episode: one.name };
  const others = data.episodes.filter((other) => other.same === one.same && other !== one);
  const step = (by) => show(list, (at + by + list.length) % list.length);
  detail.replaceChildren(el("button", { class: "close", "aria-label": "Close", onclick: () => detail.close() }, "×"),
    el("div", { class: "detail" }, el("div", { class: "film" }, film), el("div", { class: "about" },
      el("span", { class: `pill ${one.outcome}` }, WORDS[one.outcome]), el("h2", { id: "detail-title" }, one.instruction || "no instruction"),
      one.why ? el("div", {}, el("span", { class: "soft" }, "truth: "), one.why) : null,
      one.judged.map((said) => el("div", {}, el("span", { class: "soft" }, `${said.reward}: `),
        said.value === null ? `no score${said.why ? `: ${said.why}` : ""}` : `${said.value.toFixed(1)}, ${said.success ? "a success" : "a failure"}${said.why ? ` (${said.why})` : ""}`)),
      one.agreement && one.agreement !== "agrees" ? el("div", { class: "warn" }, `⚠ ${AGREEMENT[one.agreement]}`) : null,
      el("dl", {}, Object.entries(facts).filter(([, value]) => value !== "" && value !== null).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))])),
      one.words.length ? el("h3", {}, "What it thought and said") : null,
      el("ul", { class: "words" }, one.words.map(([at, kind, text]) => el("li", {}, el("button", { onclick: () => { film.currentTime = at; } },
        el("span", { class: "soft n" }, time(at)), el("span", { class: kind }, kind === "says" ? `“${text}”` : text))))),
      others.length ? el("h3", {}, "The same task") : null,
      others.map((other) => el("div", {}, el("button", { class: "plain", onclick: () => show([one, ...others], 1 + others.indexOf(other)) }, `${last(other.policy)}: ${WORDS[other.outcome]}`))),
      el("h3", {}, "Step by step"), el("code", {}, `agent replay ${one.path}`),
      list.length > 1 ? el("div", { class: "steps" }, el("button", { class: "plain", onclick: () => step(-1) }, "← before"), el("button", { class: "plain", onclick: () => step(1) }, "next →")) : null)));
  detail.onkeydown = (event) => {
    if (list.length > 1 && event.target !== film && (event.key === "ArrowLeft" || event.key === "ArrowRight")) step(event.key === "ArrowLeft" ? -1 : 1);
  };
  if (!detail.open) detail.showModal();
}
detail.addEventListener("close", () => detail.replaceChildren());
detail.addEventListener("click", (event) => { if (event.target === detail) detail.close(); });

// All episodes

const chosen = { outcome: "", policy: "", verb: "", kind: "", agreement: "", text: "", order: "name", shown: PAGE };
const ORDERS = {
  name: ["by name", (a, b) => a.name.localeCompare(b.name)],
  newest: ["newest first", (a, b) => b.created.localeCompare(a.created)],
  best: ["judge's best first", (a, b) => value(b, -1) - value(a, -1)],
  worst: ["judge's worst first", (a, b) => value(a, 101) - value(b, 101)],
  longest: ["longest first", (a, b) => b.seconds - a.seconds],
};
const value = (one, without) => one.judged.find((said) => said.value !== null)?.value ?? without;
const of = (one, name) => (name === "agreement" ? one.agreement || "none" : one[name]);

function matching(without = "") {
  const words = chosen.text.toLowerCase().split(/\s+/).filter(Boolean);
  return data.episodes.filter((one) => ["outcome", "policy", "verb", "kind", "agreement"].every((name) => name === without || !chosen[name] || of(one, name) === chosen[name])
    && words.every((word) => `${one.instruction} ${one.name} ${one.why} ${one.policy}`.toLowerCase().includes(word)));
}

function choice(name, label, names = {}) {
  const counts = counted(matching(name).map((one) => of(one, name)).filter(Boolean));
  const every = new Set(data.episodes.map((one) => of(one, name)).filter(Boolean));
  if (every.size < 2 && !chosen[name]) return null;
  if (chosen[name] && !counts.some(([key]) => key === chosen[name])) counts.push([chosen[name], 0]);
  const box = el("select", { "aria-label": label, "data-filter": name, onchange: (event) => { chosen[name] = event.target.value; chosen.shown = PAGE; episodes(); } },
    el("option", { value: "" }, label), counts.map(([key, n]) => el("option", { value: key, selected: chosen[name] === key }, `${last(names[key] || key)} (${n})`)));
  return box;
}

function scoreboard() {
  return el("section", { class: "score", "aria-label": "Policies" }, data.policies.map((one) => {
    const bar = el("div", { class: "bar" }, el("i"), el("u"));
    if (one.truth.rate === null) bar.hidden = true;
    else {
      bar.firstChild.style.width = `${100 * one.truth.rate}%`;
      Object.assign(bar.lastChild.style, { left: `${100 * one.truth.ci[0]}%`, width: `${100 * (one.truth.ci[1] - one.truth.ci[0])}%` });
    }
    const notes = [`${one.episodes} episodes`];
    if (one.truth.rate !== null) notes.push(`95 %: ${share(one.truth).match(/\((.*)\)/)[1]}`);
    if (one.judge !== null) notes.push(`judge's mean ${one.judge.toFixed(0)}`);
    if (one.agreement.rate !== null) notes.push(`judge right in ${(100 * one.agreement.rate).toFixed(0)} %`);
    return el("article", {}, el("div", { class: "row" }, el("b", { title: one.name }, last(one.name)),
      el("span", { class: "big" }, one.truth.rate === null ? "–" : `${(100 * one.truth.rate).toFixed(0)} %`)), bar, el("span", { class: "soft" }, notes.join(" · ")));
  }));
}

function episodes() {
  const found = matching().sort(ORDERS[chosen.order][1]);
  const outcomes = counted(matching("outcome").map((one) => one.outcome));
  const chip = (key, label, n) => el("button", { "aria-pressed": chosen.outcome === key, "data-outcome": key || "all", onclick: () => { chosen.outcome = key; chosen.shown = PAGE; episodes(); } }, `${label} ${n}`);
  const search = el("input", { type: "search", placeholder: "Search words", "aria-label": "Search", value: chosen.text, oninput: (event) => {
    chosen.text = event.target.value; chosen.shown = PAGE; episodes();
    const box = main.querySelector("input[type=search]"); box.focus(); box.setSelectionRange(box.value.length, box.value.length);
  } });
  main.replaceChildren(scoreboard(), el("div", { class: "filters" },
    el("div", { class: "chips" }, chip("", "All", matching("outcome").length), Object.keys(WORDS).filter((key) => data.episodes.some((one) => one.outcome === key))
      .map((key) => chip(key, WORDS[key], outcomes.find(([name]) => name === key)?.[1] || 0))),
    choice("kind", "Every kind of failure"), choice("agreement", "Whatever the judge says", AGREEMENT), choice("policy", "All policies"), choice("verb", "All verbs"),
    search, el("select", { "aria-label": "Order", onchange: (event) => { chosen.order = event.target.value; episodes(); } },
      Object.entries(ORDERS).map(([key, [label]]) => el("option", { value: key, selected: key === chosen.order }, label))),
    el("span", { class: "count" }, `${found.length} of ${data.episodes.length} episodes${data.left_out ? `; ${data.left_out} more are in the folder` : ""}`)),
  found.length ? el("section", { class: "grid" }, found.slice(0, chosen.shown).map((one, at) => card(one, () => show(found, at)))) : el("p", { class: "soft" }, "No episode is like that."),
  found.length > chosen.shown ? el("button", { class: "more plain", onclick: () => { chosen.shown += PAGE; episodes(); } }, `Show more (${found.length - chosen.shown})`) : null,
  notes());
}

function notes() {
  const lines = [...data.damaged.map(([name, why]) => `damaged: ${name}: ${why}`), ...data.notes];
  return lines.length ? el("section", {}, el("h2", {}, "Left out"), lines.map((line) => el("div", { class: "warn" }, line))) : "";
}

// Two policies on the same tasks

const versus = { left: null, right: null, won: "" };
const WON = { both: "both did it", left: "only the left did it", right: "only the right did it", neither: "neither did it", unknown: "truth not known" };

function paired(left, right) {
  const first = new Map(data.episodes.filter((one) => one.policy === right).map((one) => [one.same, one]).reverse());
  const seen = new Set();
  return data.episodes.filter((one) => one.policy === left && first.has(one.same) && !seen.has(one.same) && seen.add(one.same)).map((one) => [one, first.get(one.same)]);
}

function won([a, b]) {
  if (![a, b].every((one) => one.outcome === "success" || one.outcome === "failure")) return "unknown";
  return { 11: "both", 10: "left", 1: "right", 0: "neither" }[10 * (a.outcome === "success") + (b.outcome === "success")];
}

function rivals() {
  const names = data.policies.map((one) => one.name);
  return names.flatMap((a, i) => names.slice(i + 1).map((b) => [a, b, paired(a, b).length])).filter(([, , n]) => n).sort((a, b) => b[2] - a[2]);
}

function sides() {
  if (versus.left === null) [versus.left, versus.right] = rivals()[0];
  const pairs = paired(versus.left, versus.right);
  const counts = new Map(counted(pairs.map(won)));
  const pick = (side) => el("select", { "aria-label": side, "data-side": side, onchange: (event) => { versus[side] = event.target.value; versus.won = ""; sides(); } },
    data.policies.map((one) => el("option", { value: one.name, selected: one.name === versus[side] }, last(one.name))));
  const shown = pairs.filter((pair) => !versus.won || won(pair) === versus.won);
  main.replaceChildren(el("div", { class: "filters" }, pick("left"), el("span", { class: "soft" }, "against"), pick("right"),
    el("div", { class: "chips" }, [["", "All", pairs.length], ...Object.entries(WON).filter(([key]) => counts.has(key)).map(([key, label]) => [key, label, counts.get(key)])]
      .map(([key, label, n]) => el("button", { "aria-pressed": versus.won === key, "data-won": key || "all", onclick: () => { versus.won = key; sides(); } }, `${label} ${n}`))),
    el("span", { class: "count" }, "Point at a pair to play both from the start")),
  pairs.length ? el("section", { class: "pairs" }, shown.slice(0, PAGE).map((pair) => {
    const boxes = pair.map((one) => screen(one));
    const made = el("article", { class: "pair" }, el("b", {}, pair[0].instruction), el("div", { class: "two" }, pair.map((one, at) => el("div", { class: "side" },
      boxes[at], el("span", { class: "soft" }, last(one.policy)), el("span", { class: { success: "good", failure: "bad" }[one.outcome] || "soft" }, one.why),
      el("div", {}, el("button", { class: "plain", onclick: () => show(pair, at) }, "Open"))))));
    moving(made, pair.map((one, at) => [boxes[at], one]));
    return made;
  })) : el("p", { class: "soft" }, "These two have no task in common: the same instruction in the same level, from the same seed."));
}

// Training curves

const curving = { weight: 0.6, hidden: new Set() };

function training() {
  const runs = [...new Set(data.curves.map((one) => one.run))];
  const series = runs.map((name, at) => ({ name, colour: COLOURS[at % COLOURS.length], hidden: curving.hidden.has(name) }));
  const plots = [...new Set(data.curves.map((one) => one.tag))].map((tag) => {
    const lines = series.filter((one) => !one.hidden).flatMap((one) => data.curves.filter((curve) => curve.tag === tag && curve.run === one.name)
      .map((curve) => ({ ...one, points: smoothed(curve.points, curving.weight), faint: curving.weight ? curve.points : null })));
    return lines.length ? chart(lines, { title: tag }) : null;
  });
  const label = el("span", { class: "n" }, curving.weight.toFixed(2));
  main.replaceChildren(el("div", { class: "filters" }, legend(series, (one) => { curving.hidden[one.hidden ? "delete" : "add"](one.name); training(); }),
    el("label", { class: "slider" }, "smoothing", el("input", { type: "range", min: 0, max: 0.95, step: 0.05, value: curving.weight, onchange: (event) => { curving.weight = +event.target.value; training(); } }), label)),
  el("section", { class: "plots" }, plots), notes());
}

// Generations of self-improvement

function generations() {
  main.replaceChildren(...data.runs.flatMap((run) => {
    const rates = (name, label, colour) => ({ name: label, colour, points: run.generations.filter((one) => one[name].rate !== null)
      .map((one) => [one.generation, 100 * one[name].rate, 100 * one[name].ci[0], 100 * one[name].ci[1]]) });
    const tried = [rates("judged", "judged", COLOURS[0]), rates("true", "true, by the audit", COLOURS[2])].filter((one) => one.points.length);
    const suites = Object.keys(run.generations[0]?.suites || {}).map((suite, at) => ({ name: suite, colour: COLOURS[(at + 3) % COLOURS.length], points: run.generations.flatMap((one, number) => {
      const point = (x, rate) => [x, 100 * rate.success, 100 * rate.ci[0], 100 * rate.ci[1]];
      const now = point(one.generation, one.suites[suite][one.promoted ? "candidate" : "parent"]);
      return number ? [now] : [point(one.generation - 1, one.suites[suite].parent), now];
    }) }));
    const options = { x: "generation", unit: " %", limits: { low: 0, high: 100 }, whole: true };
    return [el("h2", {}, `${run.name}: ${run.suite}, judged by ${run.reward}`), run.generations.length ? el("section", { class: "plots" },
      tried.length ? el("div", {}, chart(tried, { ...options, title: "Tasks that the agent set itself" }), legend(tried)) : null,
      suites.length ? el("div", {}, chart(suites, { ...options, title: "The player on tasks of evaluation, by truth" }), legend(suites)) : null) : el("p", { class: "soft" }, "No generation is finished yet."),
    el("div", { class: "scroll" }, el("table", {}, el("tr", {}, ["generation", "tried", "judged", "true", "gap, points", "learned from", "promoted", "minutes"].map((name) => el("th", {}, name))),
      run.generations.map((one) => el("tr", {}, [one.generation, one.tried, share(one.judged), share(one.true), one.gap === null ? "–" : one.gap.toFixed(1), one.learned_from].map((cell) => el("td", { class: "n" }, String(cell))),
        el("td", {}, el("span", { class: one.promoted ? "good" : "bad" }, one.promoted ? "yes" : "no"), ` ${one.why}`), el("td", { class: "n" }, one.minutes.toFixed(1))))))];
  }), notes());
}

// Tabs

function start(found) {
  data = found;
  const views = { episodes: ["Episodes", episodes, data.episodes.length || data.damaged.length], sides: ["Side by side", sides, rivals().length],
    training: ["Training", training, data.curves.length], generations: ["Generations", generations, data.runs.length] };
  const open = Object.entries(views).filter(([, [, , there]]) => there);
  const go = (name) => {
    for (const tab of document.querySelectorAll("nav button")) tab.setAttribute("aria-selected", tab.dataset.tab === name);
    history.replaceState(null, "", `#${name}`);
    views[name][1]();
  };
  document.getElementById("tabs").replaceChildren(...(open.length > 1 ? open : []).map(([name, [label]]) => el("button", { role: "tab", "data-tab": name, "aria-selected": false, onclick: () => go(name) }, label)));
  const asked = location.hash.slice(1);
  go(open.some(([name]) => name === asked) ? asked : open[0][0]);
  if (data.episodes.length === 1) show(data.episodes, 0);
}

const inside = document.getElementById("data");
if (inside) start(JSON.parse(inside.textContent));
else fetch("gallery.json").then((answer) => answer.json()).then(start).catch((error) => main.replaceChildren(el("p", { class: "bad" }, `The data did not come: ${error}. Is agent view still running?`)));
