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
  let base = latents; // what "reset sliders" goes back to
  let frame = 0, moved = false;
  const times = groups.map(() => []); // milliseconds of each generator's last runs
  let drawn = latents.map((z, g) => outputsOf(g, z)); // of each group, its generator's outputs for the latents

  /** The outputs of group g's generator for the latents z, as a function of the frame; each is computed once. */
  function outputsOf(g, z) {
    const moments = decoder.frameLatents(g, z), known = [];
    return (t) => {
      const at = Math.min(t, moments.length - 1);
      if (!known[at]) {
        const start = performance.now();
        known[at] = decoder.branch(g, moments[at]);
        times[g].push(performance.now() - start);
        if (times[g].length > 15) times[g].shift();
      }
      return known[at];
    };
  }

  /** Time of an image: the sum of the generators' shortest lately, as other programs only add to it. */
  function milliseconds() {
    return times.reduce((sum, own) => sum + Math.min(...own), 0);
  }

  /** {image, appearance, displacement} of the present frame. */
  function current() {
    const [appearance, displacement] = drawn.map((output) => output(frame));
    return { image: decoder.compose(appearance, displacement), appearance, displacement };
  }

  /** The image of frame t if the latents of group g were z. */
  function preview(g, z, t) {
    const outputs = drawn.map((output, k) => (k === g ? outputsOf(g, z) : output)(t));
    return decoder.compose(outputs[0], outputs[1]);
  }

  /** The images of any latents, as a function of the frame. */
  function imagesOf(zs) {
    const outputs = zs.map((z, g) => outputsOf(g, z));
    return (t) => decoder.compose(...outputs.map((output) => output(t)));
  }

  function tell(what) {
    for (const listener of listeners) listener(what);
  }

  function equal(ones, others) {
    return ones.every((z, g) => z.every((value, k) => value === others[g][k]));
  }

  function put(next) {
    drawn = next.map((z, g) => (equal([z], [latents[g]]) ? drawn[g] : outputsOf(g, z)));
    latents = next.map((z) => z.slice());
  }

  /** Shows other latents. by: who changed them; a slider's change can be reset. */
  function set(next, by) {
    put(next);
    moved = by === "slider";
    if (!moved) base = latents;
    tell(by);
  }

  /** Replaces the latents by a function of them, for some parts; what sliders did to others can still be reset. */
  function change(of, by) {
    base = of(base);
    put(of(latents));
    moved = !equal(base, latents);
    tell(by);
  }

  function reset() {
    set(base, "reset");
  }

  /** Shows another frame of a clip. */
  function show(t) {
    frame = t;
    tell("frame");
  }

  function normal() {
    return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  }

  const prior = data.prior && DgnPrior.create(data.prior, bytes, groups.map((group, g) => ({
    states: group.states, length: group.length, noise: group.transition ? group.transition.noise : 0,
    sampled: data.groups[g].labels === 0 })));

  /** The latents with some parts drawn anew, from the fitted Gaussian or the prior; of a label any one. */
  function random(some = parts) {
    const next = latents.map((z) => z.slice());
    const fresh = groups.map((group, g) => {
      const count = data.groups[g].labels;
      return count ? oneHot(count, Math.floor(Math.random() * count)) : Float32Array.from({ length: group.length }, normal);
    });
    const drawn = prior ? prior.transform(fresh) : fresh;
    for (const [g, from, to] of some.flatMap((part) => part.ranges)) next[g].set(drawn[g].subarray(from, to), from);
    return next;
  }

  /** The mean of the fitted Gaussian, or of the prior; a label stays. */
  function mean() {
    const zeros = groups.map((group) => new Float32Array(group.length));
    const center = prior ? prior.transform(zeros) : zeros;
    return latents.map((z, g) => (data.groups[g].labels ? z : center[g]));
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
    data, size, channels, frames, groups, parts, current, preview, imagesOf, set, change, reset, show, random, mean,
    oneHot, sample,
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
