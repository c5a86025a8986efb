// Arena: a room that grows from a seed, with coloured things to go to, touch, collect and light.
// A person plays it in real time. A program that calls __step or __reset stops the clock and plays tick by tick.
import * as THREE from "three";
import { generate, HALF } from "./arena.js";

const EYE = 1.6; // metres
const BODY = 0.35;
const WALK = 4; // metres a second
const RUN = 7;
const RADIANS_PER_COUNT = 0.002; // of the mouse
const TICK = 1 / 35; // seconds
const TOUCH = 0.12; // metres between two bodies
const REACH = 2.5;
const LIGHT_RANGE = 14;
const DEGREES = 180 / Math.PI;

const renderer = new THREE.WebGLRenderer({ antialias: false });
document.body.prepend(renderer.domElement);
const camera = new THREE.PerspectiveCamera(75, 1, 0.05, 80);
camera.rotation.order = "YXZ";

let scene, arena, player, things, tick, seed;
let collected = [], touched = [], lit = [];
const keys = new Set();
let clicked = false;

// The picture

const checks = (a, b, repeat) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 32, height: 32 });
  const pen = canvas.getContext("2d");
  for (const [i, colour] of [a, b, b, a].entries()) {
    pen.fillStyle = colour;
    pen.fillRect((i % 2) * 16, (i >> 1) * 16, 16, 16);
  }
  const texture = new THREE.CanvasTexture(canvas);
  texture.wrapS = texture.wrapT = THREE.RepeatWrapping;
  texture.repeat.set(repeat, repeat);
  texture.colorSpace = THREE.SRGBColorSpace;
  return texture;
};
const floor = new THREE.MeshLambertMaterial({ map: checks("#8d8577", "#7b7468", HALF) });
const SHAPES = {
  pillar: [new THREE.CylinderGeometry(0.5, 0.5, 3.2, 20), 1.6],
  cube: [new THREE.BoxGeometry(1.1, 1.1, 1.1), 0.55],
  ball: [new THREE.SphereGeometry(0.7, 20, 14), 0.7],
  gem: [new THREE.OctahedronGeometry(0.4), 0.8],
  pad: [new THREE.CylinderGeometry(1, 1, 0.06, 24), 0.03],
};

const box = (material, x, z, width, depth, height) => {
  const mesh = new THREE.Mesh(new THREE.BoxGeometry(width, height, depth), material);
  mesh.position.set(x, height / 2, z);
  scene.add(mesh);
};

function build() {
  scene?.traverse((part) => {
    part.geometry?.dispose(); // what is shared goes to the card again when it is drawn
    if (part.material !== floor) part.material?.dispose();
  });
  scene = new THREE.Scene();
  scene.background = new THREE.Color(0x9cc4e4);
  scene.add(new THREE.HemisphereLight(0xffffff, 0x8a8478, 2.2));
  const sun = new THREE.DirectionalLight(0xffffff, 1.4);
  sun.position.set(4, 9, 6);
  scene.add(sun);
  const ground = new THREE.Mesh(new THREE.PlaneGeometry(2 * HALF, 2 * HALF), floor);
  ground.rotation.x = -Math.PI / 2;
  scene.add(ground);
  arena.walls.forEach(({ x, z, width, depth, height, colour }) => {
    box(new THREE.MeshLambertMaterial({ color: colour }), x, z, width, depth, height);
  });
  things = arena.things.map((thing) => {
    const [geometry, y] = SHAPES[thing.kind];
    const mesh = new THREE.Mesh(geometry, new THREE.MeshLambertMaterial({ color: thing.hex }));
    mesh.position.set(thing.x, y, thing.z);
    scene.add(mesh);
    return { ...thing, mesh };
  });
}

function draw() {
  camera.position.set(player.x, EYE, player.z);
  camera.rotation.set(player.pitch, -player.yaw, 0);
  for (const thing of things) if (thing.kind === "gem") thing.mesh.rotation.y = tick * 0.08;
  renderer.render(scene, camera);
  const gems = arena.things.filter((thing) => thing.kind === "gem").length;
  document.getElementById("gems").textContent = `gems ${collected.length}/${gems}`;
}

// The rules

function walk(seconds) {
  const ahead = keys.has("KeyW") - keys.has("KeyS");
  const aside = keys.has("KeyD") - keys.has("KeyA");
  if (!ahead && !aside) return;
  const speed = (keys.has("ShiftLeft") ? RUN : WALK) / Math.hypot(ahead, aside);
  const [sin, cos] = [Math.sin(player.yaw), Math.cos(player.yaw)];
  player.x += (sin * ahead + cos * aside) * speed * seconds;
  player.z += (-cos * ahead + sin * aside) * speed * seconds;
}

function bump() {
  for (const { x, z, width, depth } of arena.walls) {
    const dx = player.x - Math.max(x - width / 2, Math.min(player.x, x + width / 2));
    const dz = player.z - Math.max(z - depth / 2, Math.min(player.z, z + depth / 2));
    push(dx, dz, BODY - Math.hypot(dx, dz));
  }
  for (const thing of things) {
    const [dx, dz] = [player.x - thing.x, player.z - thing.z];
    const gap = Math.hypot(dx, dz) - thing.radius - BODY;
    if (thing.solid) push(dx, dz, -gap);
    if (thing.solid && gap < TOUCH && !touched.includes(thing.name)) touched.push(thing.name);
    if (thing.kind === "gem" && gap < 0) {
      collected.push(thing.name);
      scene.remove(thing.mesh);
    }
  }
  things = things.filter((thing) => !collected.includes(thing.name));
  const limit = HALF - BODY;
  player.x = Math.max(-limit, Math.min(limit, player.x));
  player.z = Math.max(-limit, Math.min(limit, player.z));
}

function push(dx, dz, depth) {
  const length = Math.hypot(dx, dz);
  if (depth <= 0 || length === 0) return;
  player.x += (dx / length) * depth;
  player.z += (dz / length) * depth;
}

// The name of the thing under the crosshair, or null.
function aimed() {
  camera.position.set(player.x, EYE, player.z);
  camera.rotation.set(player.pitch, -player.yaw, 0);
  camera.updateMatrixWorld();
  const ray = new THREE.Raycaster();
  ray.setFromCamera(new THREE.Vector2(0, 0), camera);
  const [hit] = ray.intersectObjects(scene.children, false);
  return (hit && hit.distance < LIGHT_RANGE && things.find((thing) => thing.mesh === hit.object)?.name) || null;
}

function light() {
  const name = aimed();
  if (name === null || lit.includes(name)) return;
  lit.push(name);
  const thing = things.find((it) => it.name === name);
  thing.mesh.material.emissive.set(thing.hex);
  thing.mesh.material.emissiveIntensity = 0.7;
}

function advance(seconds) {
  tick += 1;
  walk(seconds);
  bump();
  if (clicked) light();
  clicked = false;
}

function begin(number, options = {}) {
  seed = number;
  arena = generate(seed, options);
  player = { ...arena.start, pitch: 0 };
  [tick, collected, touched, lit, clicked] = [0, [], [], [], false];
  build();
}

// What tasks ask about: names are "COLOUR KIND"

window.game = {
  get collected() { return collected; },
  get touched() { return touched; },
  get lit() { return lit; },
  get aimed() { return aimed(); },
  left: (kind) => things.filter((thing) => thing.kind === kind).length,
  on: (name) => things.some((thing) => thing.name === name && distance(thing) < thing.radius),
  at: (name) => things.some((thing) => thing.name === name && distance(thing) - thing.radius < REACH && ahead(thing) < 30),
};
const distance = (thing) => Math.hypot(thing.x - player.x, thing.z - player.z);
const ahead = (thing) => {
  const off = Math.atan2(thing.x - player.x, player.z - thing.z) - player.yaw;
  return Math.abs(Math.atan2(Math.sin(off), Math.cos(off))) * DEGREES;
};

// Keyboard and mouse

addEventListener("keydown", (event) => keys.add(event.code));
addEventListener("keyup", (event) => keys.delete(event.code));
addEventListener("blur", () => keys.clear());
addEventListener("mousemove", (event) => {
  if (document.pointerLockElement === null) return;
  player.yaw += event.movementX * RADIANS_PER_COUNT;
  player.pitch = Math.max(-1.2, Math.min(1.2, player.pitch - event.movementY * RADIANS_PER_COUNT));
});
addEventListener("mousedown", (event) => {
  if (document.pointerLockElement === null) renderer.domElement.requestPointerLock();
  else if (event.button === 0) clicked = true;
});
document.addEventListener("pointerlockchange", () => {
  document.getElementById("help").classList.toggle("away", document.pointerLockElement !== null);
});
addEventListener("resize", fit);
function fit() {
  renderer.setSize(innerWidth, innerHeight);
  camera.aspect = innerWidth / innerHeight;
  camera.updateProjectionMatrix();
  draw();
}

// For programs

let driven = false; // by a program: the clock stands still
window.__reset = (number, options) => {
  driven = true;
  begin(number, options);
  draw();
};
window.__step = (seconds, drawn = true) => {
  driven = true;
  advance(seconds);
  if (drawn) draw();
};
window.__state = () => ({
  tick,
  seed,
  player: { x: player.x, z: player.z, yaw: player.yaw * DEGREES, pitch: player.pitch * DEGREES },
  things: things.map(({ name, kind, colour, x, z, radius }) => ({ name, kind, colour, x, z, radius })),
  walls: arena.walls.map(({ x, z, width, depth }) => ({ x, z, width, depth })),
  collected,
  touched,
  lit,
});

// For people

let last = performance.now();
let due = 0;
function frame(now) {
  if (driven) return;
  due = Math.min(due + (now - last) / 1000, 0.25);
  last = now;
  for (; due >= TICK; due -= TICK) advance(TICK);
  draw();
  requestAnimationFrame(frame);
}
begin(Number(new URLSearchParams(location.search).get("seed") ?? 1));
fit();
requestAnimationFrame(frame);
