// What an arena holds, from its seed: the same seed and options give the same arena everywhere.

export const HALF = 11; // metres from the middle to each wall
const COLOURS = {
  red: 0xd92b2b, green: 0x2fa33a, blue: 0x2b4fd9, yellow: 0xe8c81e, purple: 0x8a32b8, orange: 0xe87a1e,
};
const RADII = { pillar: 0.5, cube: 0.6, ball: 0.7, gem: 0.4, pad: 1 };
const SOLID = new Set(["pillar", "cube", "ball"]);
const EDGE = [0xb9a68c, 0x97a4ae, 0xa9b493, 0xae9aa6]; // each side of the arena has its own colour

// mulberry32, a small generator of numbers in [0, 1)
function randomness(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

// `things`: names such as "red pillar" that must be there. `count`: how many things there are in all. `blocks`: walls
// inside. `others`: kinds that may be added, all by default.
export function generate(seed, { things = [], count = 9, blocks = 4, others = Object.keys(RADII) } = {}) {
  const random = randomness(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const names = [...things];
  const free = others.flatMap((kind) => Object.keys(COLOURS).map((colour) => `${colour} ${kind}`));
  while (names.length < count && free.some((name) => !names.includes(name))) {
    const name = pick(free);
    if (!names.includes(name)) names.push(name);
  }
  const taken = [];
  const place = (radius, reach) => {
    for (let tries = 0; tries < 2000; tries += 1) {
      const [x, z] = [(random() * 2 - 1) * reach, (random() * 2 - 1) * reach];
      if (taken.every((it) => Math.hypot(it.x - x, it.z - z) > it.radius + radius + 1.2)) {
        taken.push({ x, z, radius });
        return { x, z };
      }
    }
    throw new Error(`no room for ${names.length} things and ${blocks} blocks`);
  };
  const start = { ...place(0.5, HALF - 2), yaw: random() * 2 * Math.PI };
  const walls = [0, 1, 2, 3].map((side) => {
    const [x, z] = [[0, -1], [1, 0], [0, 1], [-1, 0]][side];
    const [width, depth] = side % 2 ? [0.4, 2 * HALF + 0.8] : [2 * HALF + 0.8, 0.4];
    return { x: x * (HALF + 0.2), z: z * (HALF + 0.2), width, depth, height: 3.5, colour: EDGE[side] };
  });
  for (let block = 0; block < blocks; block += 1) {
    const [width, depth] = random() < 0.5 ? [2.4, 0.6] : [0.6, 2.4];
    walls.push({ ...place(1.3, HALF - 3), width, depth, height: 2, colour: 0x9a948a });
  }
  return {
    start,
    walls,
    things: names.map((name) => {
      const [colour, kind] = name.split(" ");
      if (!(colour in COLOURS && kind in RADII)) throw new Error(`there is no ${name}`);
      const where = place(RADII[kind], HALF - 1.5);
      return { name, kind, colour, hex: COLOURS[colour], radius: RADII[kind], solid: SOLID.has(kind), ...where };
    }),
  };
}
