// Runs in a page before its own scripts: what BrowserWorld needs there. Nothing here is meant for the page.
(() => {
  if (window.top !== window) return;
  const requestFrame = window.requestAnimationFrame.bind(window);
  const now = performance.now.bind(performance);

  // One page in one window: what asks for more gets nothing.
  window.open = () => null;
  window.print = () => {};
  Element.prototype.requestFullscreen = () => Promise.resolve();

  // Events that have reached the page. The first listener there is, so that no other can hide one from it.
  let events = 0;
  const count = (event) => { if (event.isTrusted) events += 1; };
  for (const type of ["keydown", "keyup", "mousedown", "mouseup", "mousemove", "wheel"]) {
    window.addEventListener(type, count, { capture: true, passive: true });
  }

  // Mouse movements are handed out at the next frame, before its animation callbacks: wait for them there, so that
  // what follows belongs to the same frame. An event that never comes (it went to a frame in the page) is given up:
  // late, since a busy machine may only be slow, and sooner once one was lost.
  let patience = 5000; // milliseconds
  const settle = async (expected) => {
    const deadline = now() + patience;
    while (events < expected && now() < deadline) await new Promise(requestFrame);
    patience = events < expected ? 200 : 5000;
  };

  // A pixel in the lower left corner whose colour names the frame that shows what the page is now.
  let pixel = null;
  const mark = (colour) => {
    if (pixel === null || !pixel.isConnected) {
      pixel = document.createElement("div");
      pixel.style.cssText =
        "all:initial;position:fixed;left:0;bottom:0;width:1px;height:1px;z-index:2147483647;pointer-events:none";
      document.documentElement.append(pixel);
    }
    pixel.style.backgroundColor = colour;
  };

  let token = null;
  let expressions = {};
  const value = (name) => {
    try {
      return expressions[name]();
    } catch (error) {
      throw new Error(`${name}: ${error}`);
    }
  };
  const plain = (it) => (["string", "number", "boolean"].includes(typeof it) ? it : Boolean(it));
  const read = () => {
    const answer = { events, locked: document.pointerLockElement !== null, checks: {} };
    for (const name of Object.keys(expressions)) {
      if (name.startsWith("javascript.")) answer.checks[name.slice(11)] = plain(value(name));
      else answer[name] = value(name) ?? null;
    }
    return answer;
  };

  const ludens = {
    mark,
    define: (mine, name, expression) => {
      if (token !== mine) [token, expressions] = [mine, {}];
      expressions[name] = expression;
    },
    look: async (mine, expected, colour) => {
      if (token !== mine) return { lost: true, events };
      await settle(expected);
      if (colour !== null) mark(colour);
      return read();
    },
    step: async (mine, expected, colour, seconds, draw) => {
      if (token !== mine) return { lost: true, events };
      await settle(expected);
      await window.__step(seconds, draw);
      if (colour !== null) mark(colour);
      return read();
    },
    sent: async (expected) => {
      await settle(expected);
      return { events };
    },
    reset: async (seed, options) => { await window.__reset(seed, options); },
  };
  Object.defineProperty(window, "__ludens", { value: Object.freeze(ludens) });
})();
