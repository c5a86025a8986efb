"use strict";
// Shows the question at hand, and sends the answer. The run waits for it; between questions this page asks every second.
const at = (id) => document.getElementById(id);
let csrf = "";
let shown = "";

function show(question) {
  csrf = question.csrf;
  if (question.id === shown) return;
  shown = question.id;
  at("question").hidden = !shown;
  at("count").textContent = shown
    ? `Question ${question.number} of ${question.of} of this generation`
    : "The agent plays. A question comes when a generation is scored.";
  for (const button of document.querySelectorAll("button")) button.disabled = false;
  if (!shown) return;
  at("instruction").textContent = question.instruction;
  at("clip").src = `clip?id=${encodeURIComponent(shown)}`;
  at("yes").focus();
}

async function look() {
  try {
    const reply = await fetch("question");
    if (reply.ok) show(await reply.json());
  } catch {
    at("count").textContent = "The run is over, or it was stopped.";
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
