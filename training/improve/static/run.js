"use strict";
// Shows how the run goes, and the question at hand; sends the answer, for which the run waits. It asks every second.
const at = (id) => document.getElementById(id);
let csrf = "";
let shown = "";
let rounds = 0;
let generations = 0;

function table(rows) {
  at("table").replaceChildren(
    ...rows.map((cells, row) => {
      const line = document.createElement("tr");
      for (const cell of cells) line.appendChild(document.createElement(row ? "td" : "th")).textContent = cell;
      return line;
    }),
  );
}

function tell(run) {
  at("title").textContent = document.title = `Self-improvement in ${run.title}`;
  if (run.stage !== null) at("stage").textContent = `${run.stage}: ${run.done} of ${run.total}`;
  at("bar").max = Math.max(1, run.total);
  at("bar").value = run.done;
  at("figures").textContent = Object.entries(run.figures).map(([name, value]) => `${name} ${value.toPrecision(3)}`).join(", ");
  at("wait").hidden = run.generations > 0;
  if (run.generations !== generations) {
    table(run.table);
    generations = run.generations;
    at("curves").src = `curves?${generations}`;
    at("curves").hidden = generations === 0;
  }
  if (run.rounds !== rounds) {
    rounds = run.rounds;
    at("practice").src = `practice?${generations}-${rounds}`;
    at("practised").hidden = rounds === 0;
  }
  at("report").hidden = !run.report;
}

function show(question) {
  csrf = question.csrf;
  if (question.id === shown) return;
  shown = question.id;
  at("question").hidden = !shown;
  for (const button of document.querySelectorAll("button")) button.disabled = false;
  if (!shown) return;
  at("count").textContent = `Question ${question.number} of ${question.of} of this generation`;
  at("instruction").textContent = question.instruction;
  at("clip").src = `clip?id=${encodeURIComponent(shown)}`;
  at("yes").focus();
}

async function look() {
  try {
    const [run, question] = await Promise.all([fetch("status"), fetch("question")]);
    if (run.ok) tell(await run.json());
    if (question.ok) show(await question.json());
  } catch {
    at("stage").textContent = "The run is over, or it was stopped.";
    at("question").hidden = true;
    shown = "";
  }
}

async function answer(done, stop) {
  if (!shown) return;
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  await fetch("answer", {
    method: "POST",
    headers: { "content-type": "application/json", "x-ludens-csrf": csrf },
    body: JSON.stringify({ id: shown, done, stop }),
  });
  await look();
}

at("yes").addEventListener("click", () => answer(true, false));
at("no").addEventListener("click", () => answer(false, false));
at("skip").addEventListener("click", () => answer(null, false));
at("stop").addEventListener("click", () => answer(null, true));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const keys = { y: true, n: false, s: null };
  if (event.key in keys) answer(keys[event.key], false);
});
look();
setInterval(look, 1000);
