/* The latents that are shown, and what the decoder makes of them. */
"use strict";

const State = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const bytes = DgnDecoder.bytesOf(document.getElementById("arrays").textContent.trim());
  const decoder = DgnDecoder.create(data.model, bytes);
  const { size, channels, frames } = decoder, groups = data.model.groups;
  const listeners = [];

  /* Parts that can be exchanged: ranges [group, from, to] of the latents. Of a clip's (Z_0, xi_1 .. xi_T) all xi
   * are the motion. group: the one whose axes a part has. */
  const parts = groups.map((group, g) => ({
    name: data.groups[g].title, hint: data.groups[g].hint, group: g, ranges: [[g, 0, group.states]] }));
  const motion = groups.map((group, g) => [g, group.states, group.length]).filter(([, from, to]) => to > from);
  if (motion.length) parts.push({ name: "Motion", hint: "what changes over time", group: null, ranges: motion });

  let latents = groups.map((group) => new Float32Array(group.length));
  let base = latents; // what "undo sliders" goes back to
  let frame = 0, moved = false;
  const times = groups.map(() => []); // milliseconds of each generator's last runs
  // of each group: latents of every frame, and the outputs of its generator that have been computed
  const cache = groups.map((_, g) => cacheOf(g, latents[g]));

  function cacheOf(g, z) {
    return { z, frames: decoder.frameLatents(g, z), outputs: [] };
  }

  /** The output of a group's generator at a frame. */
  function output(g, t) {
    const own = cache[g], at = Math.min(t, own.frames.length - 1);
    if (!own.outputs[at]) {
      const start = performance.now();
      own.outputs[at] = decoder.branch(g, own.frames[at]);
      times[g].push(performance.now() - start);
      if (times[g].length > 15) times[g].shift();
    }
    return own.outputs[at];
  }

  /** Time of an image: the sum of the generators' medians. */
  function milliseconds() {
    return times.reduce((sum, own) => sum + [...own].sort((a, b) => a - b)[own.length >> 1], 0);
  }

  /** {image, appearance, displacement} of a frame. */
  function current(t = frame) {
    const [appearance, displacement] = groups.map((_, g) => output(g, t));
    return { image: decoder.compose(appearance, displacement), appearance, displacement };
  }

  /** The image of the present frame if the latents of group g were z. */
  function preview(g, z) {
    const own = decoder.frameLatents(g, z), at = Math.min(frame, own.length - 1);
    const outputs = groups.map((_, k) => (k === g ? decoder.branch(g, own[at]) : output(k, frame)));
    return decoder.compose(outputs[0], outputs[1]);
  }

  /** The images of any latents, one a frame (of an image: one). */
  function images(zs) {
    const decoded = decoder.decode(zs);
    return (frames ? decoded : [decoded]).map((one) => one.image);
  }

  function tell(what) {
    for (const listener of listeners) listener(what);
  }

  /** Shows other latents. by: who changed them; a slider's change can be undone. */
  function set(next, by) {
    next.forEach((z, g) => {
      if (z.some((value, k) => value !== cache[g].z[k])) cache[g] = cacheOf(g, z.slice());
    });
    latents = cache.map((own) => own.z);
    moved = by === "slider";
    if (!moved) base = latents;
    tell(by);
  }

  function undo() {
    set(base, "undo");
  }

  /** Shows another frame of a clip. */
  function show(t) {
    frame = t;
    tell("frame");
  }

  function normal() {
    return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  }

  /** The latents with some parts drawn anew from the prior; of a label any one. */
  function random(some = parts) {
    const next = latents.map((z) => z.slice());
    for (const [g, from, to] of some.flatMap((part) => part.ranges)) {
      const count = data.groups[g].labels;
      if (count) next[g] = oneHot(count, Math.floor(Math.random() * count));
      else for (let k = from; k < to; k++) next[g][k] = normal();
    }
    return next;
  }

  function oneHot(count, label) {
    return new Float32Array(count).map((_, k) => Number(k === label));
  }

  /** The latents of a stored sample. */
  function sample(set, index) {
    return data.samples[set].latents.map((reference) => {
      const length = reference.shape[1];
      return DgnDecoder.arrayOf(reference, bytes).slice(index * length, (index + 1) * length);
    });
  }

  return {
    data, size, channels, frames, groups, parts, current, preview, images, set, undo, show, random, oneHot, sample,
    arrayOf: (reference) => DgnDecoder.arrayOf(reference, bytes),
    latents: () => latents,
    frame: () => frame,
    moved: () => moved,
    milliseconds,
    listen: (listener) => listeners.push(listener),
  };
})();

/** A new element with attributes and children (elements or texts). */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Work that is done in the time that is left: `jobs` one after the other, at most about 10 ms at once. */
function background() {
  let waiting = [], timer = null;
  function work() {
    const end = performance.now() + 10;
    while (waiting.length && performance.now() < end) waiting.shift()();
    timer = waiting.length ? setTimeout(work, 0) : null;
  }
  return {
    /** Replaces what has not been done yet. */
    start(jobs, delay) {
      waiting = jobs;
      clearTimeout(timer);
      timer = setTimeout(work, delay);
    },
    busy: () => timer !== null,
  };
}
