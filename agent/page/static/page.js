"use strict";
// The live page. Everything that comes from a game, a player or a model is set as text, never as markup.

const at = (id) => document.getElementById(id);
const view = at("view"), pen = view.getContext("2d"), text = at("text");
const LOOK = 0.12; // degrees a pixel of mouse travel
const TIMELINE = 120; // seconds of the episode that the timeline shows, up to now
const ALIVE = 200; // milliseconds between two words of the hands

let socket = null, csrf = "", state = { mode: "gone", spans: [], lines: [] }, picture = null;
let spans = [], lines = new Map(), episode = 0, drawn = [], frozen = null, stripAt = 0;

// Connection

function connect() {
  socket = new WebSocket(new URL("live", location.href).href.replace(/^http/, "ws"));
  socket.binaryType = "blob";
  socket.onmessage = (event) => (typeof event.data === "string" ? tell(JSON.parse(event.data)) : show(event.data));
  socket.onclose = () => {
    mode("gone");
    setTimeout(connect, 1500);
  };
}

async function post(path, body) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-ludens-csrf": csrf },
      body: JSON.stringify(body),
    });
    const value = await answer.json();
    if (!answer.ok) note(value.error);
    else if (value.path) note(`kept: ${value.path}`);
    return answer.ok;
  } catch {
    note("the agent can't be reached");
    return false;
  }
}

const act = (what) => post("do", { what });

// What is seen

let decoding = false;
async function show(blob) {
  if (decoding) return; // this page is slow: it leaves frames out
  decoding = true;
  try {
    const image = await createImageBitmap(blob);
    if (!frozen) {
      if (view.width !== image.width || view.height !== image.height) {
        view.width = image.width;
        view.height = image.height;
        view.style.aspectRatio = `${image.width} / ${image.height}`;
      }
      pen.drawImage(image, 0, 0);
    }
    image.close();
    const now = performance.now();
    drawn.push(now);
    while (drawn[0] < now - 2000) drawn.shift();
  } finally {
    decoding = false;
  }
}

const NAMES = {
  human: "you play", paused: "paused", asking: "it asks you", idle: "waits for you", acting: "acting", gone: "not connected",
};

function mode(name) {
  state.mode = name;
  at("mode").textContent = name === "human" && !state.mine ? "somebody plays" : NAMES[name];
  at("mode").dataset.mode = name;
}

// What the player was shown, where that is not the world's own picture.
async function eyes(saw) {
  at("eyes").hidden = !saw.jpeg;
  put("size", saw.size ? `it sees ${saw.size}` : "");
  if (!saw.jpeg) return;
  const bytes = Uint8Array.from(atob(saw.jpeg), (letter) => letter.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  const canvas = at("saw");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  image.close();
}

// What the game sounds like. A browser lets a page sound only after a person has asked for it.

let speaker = null, sounds = false, soundUntil = 0;
const LAG = 0.08; // seconds between the arrival of a piece and its sound, which even out what the network delays

async function sound() {
  if (at("sound").hidden) return;
  sounds = !sounds;
  at("sound").setAttribute("aria-pressed", `${sounds}`);
  speaker ??= new AudioContext();
  await (sounds ? speaker.resume() : speaker.suspend());
}

function hear(pieces) {
  at("sound").hidden = false;
  if (!sounds) return;
  for (const piece of pieces) {
    const bytes = Uint8Array.from(atob(piece.pcm), (letter) => letter.charCodeAt(0));
    const samples = Float32Array.from(new Int16Array(bytes.buffer), (value) => value / 32768);
    const buffer = speaker.createBuffer(1, samples.length, piece.hz);
    buffer.copyToChannel(samples, 0);
    const source = speaker.createBufferSource();
    source.buffer = buffer;
    source.connect(speaker.destination);
    if (soundUntil < speaker.currentTime || soundUntil > speaker.currentTime + 1) soundUntil = speaker.currentTime + LAG;
    source.start(soundUntil);
    soundUntil += buffer.duration;
  }
}

function put(id, value) {
  const node = at(id);
  if (node.textContent !== value) node.textContent = value;
}

function tell(news) {
  if (news.csrf) {
    csrf = news.csrf;
    lines.clear();
    at("lines").replaceChildren();
  }
  if (news.spans) spans = news.spans;
  const was = state;
  state = news;
  mode(news.mode);
  put("clock", `${(news.tick / news.hz).toFixed(1)} s`);
  put("decisions", news.decisions.toFixed(1));
  put("starved", `${news.starved}`);
  put("rate", drawn.length ? (drawn.length / 2).toFixed(0) : "0");
  put("thought", news.thought);
  if (news.eyes) eyes(news.eyes);
  if (news.sounds) hear(news.sounds);
  at("stage").classList.toggle("mine", news.mine);
  label("pause", news.mode === "paused" ? "Resume" : "Pause", "Space");
  label("take", news.mine ? "Give back" : "Take over", "Tab");
  at("take").disabled = news.mode === "human" && !news.mine;
  if (was.mine && !news.mine) letGo(false);
  hands(news.action, news.controls ?? {});
  goals(news.goals);
  for (const line of news.lines) say(line);
  if (news.lines.length) at("lines").scrollTop = at("lines").scrollHeight;
  const now = performance.now();
  if (news.lines.length || news.episode !== episode || now - stripAt > 500) {
    stripAt = now;
    episode = news.episode;
    strip();
  }
}

const labels = {};
function label(id, words, key) {
  if (labels[id] === words) return;
  labels[id] = words;
  const cap = document.createElement("kbd");
  cap.textContent = key;
  at(id).replaceChildren(`${words} `, cap);
}

const CAPS = { Space: "space", ShiftLeft: "shift", ControlLeft: "ctrl", ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→" };
const cap = (code) => CAPS[code] ?? code.replace(/^(Key|Digit)/, "");
const ALWAYS = ["KeyW", "KeyA", "KeyS", "KeyD", "KeyE"], CLICKS = ["left", "right", "middle"], MOUSE = ["look", "pointer", "wheel"];
const MOST_CAPS = 8; // keys that are always shown
let handsWere = "";

function hands(action, controls) {
  const keys = action.keys ?? [], buttons = action.buttons ?? [], [yaw, pitch] = action.look ?? [0, 0];
  const turn = (yaw > 0.2 ? "→" : yaw < -0.2 ? "←" : "") + (pitch > 0.2 ? "↑" : pitch < -0.2 ? "↓" : "");
  const told = Object.keys(controls), named = told.filter((name) => !CLICKS.includes(name) && !MOUSE.includes(name));
  const shown = told.length ? named.slice(0, MOST_CAPS) : ALWAYS;
  const parts = [...new Set([...shown, ...keys])].map((code) => [cap(code), keys.includes(code), controls[code]]);
  for (const name of CLICKS)
    if (controls[name] || buttons.includes(name) || (name === "left" && !told.length))
      parts.push([`${name} button`, buttons.includes(name), controls[name]]);
  parts.push([`look ${turn || "·"}`, turn !== "", controls.look]);
  const now = JSON.stringify(parts);
  if (now === handsWere) return;
  handsWere = now;
  at("hands").replaceChildren(
    ...parts.map(([name, on, meaning]) => {
      const node = document.createElement("span");
      node.textContent = name;
      if (meaning) node.title = meaning;
      node.className = on ? "on" : "";
      return node;
    }),
  );
}

let goalsWere = "";
function goals(list) {
  const now = JSON.stringify(list);
  if (now === goalsWere) return;
  goalsWere = now;
  at("goals").replaceChildren(
    ...list.map((goal) => {
      const node = document.createElement("li");
      node.textContent = goal;
      return node;
    }),
  );
}

// Dialogue

function say(line) {
  let node = lines.get(line.number)?.node;
  if (!node) {
    node = document.createElement("li");
    node.className = line.who.startsWith("player ") ? "player" : line.who;
    at("lines").append(node);
  }
  lines.set(line.number, { ...line, node });
  node.replaceChildren();
  if (line.who.startsWith("player ")) {
    const who = document.createElement("b");
    who.textContent = `${line.who} (in the game)`;
    node.append(who);
  }
  node.append(line.picture ? `${line.text} 🖼` : line.text);
}

function note(words) {
  const node = document.createElement("li");
  node.className = "note";
  node.textContent = words;
  at("lines").append(node);
  at("lines").scrollTop = at("lines").scrollHeight;
}

function strip() {
  const end = Math.max(1, state.tick), begin = Math.max(0, end - TIMELINE * state.hz);
  const share = (tick) => (100 * Math.max(0, Math.min(tick, end) - begin)) / (end - begin);
  const nodes = spans.map(([start, who], i) => {
    const node = document.createElement("i");
    node.className = who;
    node.style.left = `${share(start)}%`;
    node.style.right = `${100 - share(spans[i + 1]?.[0] ?? end)}%`;
    return node;
  });
  for (const line of lines.values()) {
    if (line.revision <= state.first || line.tick < begin) continue;
    const node = document.createElement("button");
    node.type = "button";
    node.tabIndex = -1;
    node.className = line.who.startsWith("player ") ? "player" : line.who;
    node.style.left = `${share(line.tick)}%`;
    const words = `${(line.tick / state.hz).toFixed(1)} s  ${line.who}: ${line.text}`;
    node.title = words;
    node.onclick = node.onmouseenter = () => put("moment", words);
    nodes.push(node);
  }
  at("strip").replaceChildren(...nodes);
}

// Talk

at("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (!words && !picture) return;
  const sent = { text: words, ...(picture && { image: picture }) };
  text.value = "";
  detach();
  if (!(await post("say", sent))) text.value = words;
});

function attach(source, x, y, width, height) {
  const cut = document.createElement("canvas"), scale = Math.min(1, 640 / Math.max(width, height));
  cut.width = Math.max(1, Math.round(width * scale));
  cut.height = Math.max(1, Math.round(height * scale));
  cut.getContext("2d").drawImage(source, x, y, width, height, 0, 0, cut.width, cut.height);
  picture = cut.toDataURL("image/png").split(",")[1];
  const thumb = at("thumb"), fit = Math.min(80 / cut.width, 60 / cut.height);
  thumb.width = Math.round(cut.width * fit);
  thumb.height = Math.round(cut.height * fit);
  thumb.getContext("2d").drawImage(cut, 0, 0, thumb.width, thumb.height);
  at("attached").hidden = false;
  if (!text.value) text.value = "go to this";
  text.focus();
  text.select();
}

function detach() {
  picture = null;
  at("attached").hidden = true;
}
at("detach").onclick = detach;

addEventListener("paste", async (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (!file) return;
  event.preventDefault();
  try {
    const image = await createImageBitmap(file);
    attach(image, 0, 0, image.width, image.height);
  } catch {
    note("that is no picture");
  }
});

// A mark on the frame: the picture stands still while one draws.

const spot = (event) => {
  const box = view.getBoundingClientRect();
  return [Math.min(1, Math.max(0, (event.clientX - box.x) / box.width)), Math.min(1, Math.max(0, (event.clientY - box.y) / box.height))];
};
view.addEventListener("pointerdown", (event) => {
  if (state.mine) {
    if (document.pointerLockElement !== view) lock();
    return;
  }
  frozen = spot(event);
  view.setPointerCapture(event.pointerId);
});
view.addEventListener("pointermove", (event) => {
  if (!frozen) return;
  const [x, y] = spot(event), mark = at("mark");
  mark.hidden = false;
  mark.style.left = `${100 * Math.min(x, frozen[0])}%`;
  mark.style.top = `${100 * Math.min(y, frozen[1])}%`;
  mark.style.width = `${100 * Math.abs(x - frozen[0])}%`;
  mark.style.height = `${100 * Math.abs(y - frozen[1])}%`;
});
view.addEventListener("pointerup", (event) => {
  if (!frozen) return;
  const [x, y] = spot(event), [x0, y0] = frozen;
  frozen = null;
  at("mark").hidden = true;
  const width = Math.abs(x - x0) * view.width, height = Math.abs(y - y0) * view.height;
  if (width >= 4 && height >= 4) attach(view, Math.min(x, x0) * view.width, Math.min(y, y0) * view.height, width, height);
});
view.addEventListener("pointercancel", () => {
  frozen = null;
  at("mark").hidden = true;
});

// Hands: while one plays, keys and mouse go to the game as they are held.

const down = new Set(), pressed = new Set();
let look = [0, 0], wheel = 0, pointer = null, due = false;

function send() {
  if (!state.mine || socket.readyState !== WebSocket.OPEN) return;
  const action = { keys: [...down], buttons: [...pressed], look, wheel };
  if (pointer && document.pointerLockElement !== view) action.pointer = pointer;
  socket.send(JSON.stringify({ hands: action }));
  [look, wheel, due] = [[0, 0], 0, false];
}
const soon = () => {
  if (!due) requestAnimationFrame(send);
  due = true;
};
setInterval(send, ALIVE);

const lock = () => Promise.resolve(view.requestPointerLock?.()).catch(() => {});

function letGo(tellIt) {
  down.clear();
  pressed.clear();
  [look, wheel, pointer] = [[0, 0], 0, null];
  if (tellIt && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ give: true }));
  if (document.pointerLockElement) document.exitPointerLock();
}
function takeOrGive() {
  if (state.mine) letGo(true);
  else if (state.mode !== "human") {
    socket.send(JSON.stringify({ take: true }));
    view.focus();
    lock();
  }
}
document.addEventListener("pointerlockchange", () => {
  // Who presses Esc under a pointer lock only leaves the lock: that gives the game back.
  if (!document.pointerLockElement && state.mine) letGo(true);
});
addEventListener("blur", () => {
  down.clear();
  pressed.clear();
  send();
});

const BUTTONS = ["left", "middle", "right"];
addEventListener("mousemove", (event) => {
  if (!state.mine) return;
  if (document.pointerLockElement === view) {
    look[0] += event.movementX * LOOK;
    look[1] -= event.movementY * LOOK;
    soon();
  } else if (event.target === view) {
    pointer = spot(event);
    soon();
  }
});
addEventListener("mousedown", (event) => {
  if (state.mine && event.target === view && BUTTONS[event.button]) {
    pressed.add(BUTTONS[event.button]);
    send();
  }
});
addEventListener("mouseup", (event) => {
  if (pressed.delete(BUTTONS[event.button])) send();
});
view.addEventListener("contextmenu", (event) => state.mine && event.preventDefault());
view.addEventListener(
  "wheel",
  (event) => {
    if (!state.mine) return;
    event.preventDefault();
    wheel -= Math.sign(event.deltaY);
    soon();
  },
  { passive: false },
);

// Keys

const writing = (event) => event.target === text;
addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (state.mine && !writing(event)) {
    if (event.code === "Tab" || event.code === "Escape") {
      event.preventDefault();
      if (!event.repeat) takeOrGive();
    } else if (!event.metaKey) {
      event.preventDefault();
      if (!event.repeat) {
        down.add(event.code);
        send();
      }
    }
    return;
  }
  if (writing(event)) {
    if (event.code === "Escape") view.focus();
    return;
  }
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const other = event.target.closest?.("button");
  const keys = {
    Space: () => act(state.mode === "paused" ? "resume" : "pause"),
    Period: () => act("step"),
    Escape: () => act("stop"),
    KeyS: () => act("clip"),
    KeyM: sound,
    Enter: () => text.focus(),
    Tab: takeOrGive,
  };
  // Tab and the keys of a button keep their meaning where a button has the focus, so that the page works without a mouse.
  const mine = other ? ["Period", "Escape", "KeyS", "KeyM"] : event.shiftKey ? [] : Object.keys(keys);
  if (mine.includes(event.code)) {
    event.preventDefault();
    keys[event.code]();
  }
});
addEventListener("keyup", (event) => {
  if (down.delete(event.code)) send();
});

at("pause").onclick = () => act(state.mode === "paused" ? "resume" : "pause");
at("step").onclick = () => act("step");
at("stop").onclick = () => act("stop");
at("clip").onclick = () => act("clip");
at("sound").onclick = sound;
at("quit").onclick = () => confirm("End the run?") && act("quit");
at("take").onclick = (event) => {
  takeOrGive();
  event.target.blur();
};

connect();
