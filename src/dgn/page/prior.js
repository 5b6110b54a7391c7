/* New latents: standard normal values, turned into samples of the Gaussian that was fitted to the training's latents
 * (dgn.inference.fitted).
 *
 *   const prior = DgnPrior.create(description, bytes, groups);
 *   prior.transform(latents)  // arrays of each group, standard normal, -> samples; groups without `noise` unchanged
 *
 * groups: [{states, length, noise, sampled}] of each group: values of Z_0, of all latents, and of one xi_t (0: an image).
 */
"use strict";

const DgnPrior = (() => {
  function create(description, bytes, groups) {
    const [mean, basis, noiseMean, noiseBasis, correlation] = description.map(
      (reference) => DgnDecoder.arrayOf(reference, bytes));
    const own = groups.map((group, g) => ({ ...group, g })).filter((group) => group.sampled);
    const moving = own.filter((group) => group.noise > 0);
    const steps = moving.length ? (moving[0].length - moving[0].states) / moving[0].noise : 0;

    /** center + matrix e. */
    function affine(center, matrix, e) {
      return center.map((value, i) => e.reduce((sum, one, k) => sum + matrix[i * e.length + k] * one, value));
    }

    /** The values of ranges [group, from, to], one after the other. */
    function gather(latents, ranges) {
      return ranges.flatMap(([g, from, to]) => Array.from(latents[g].subarray(from, to)));
    }

    function scatter(latents, ranges, values) {
      let at = 0;
      for (const [g, from, to] of ranges) latents[g].set(values.subarray(at, at += to - from), from);
    }

    function transform(latents) {
      const next = latents.map((z) => Float32Array.from(z));
      const states = own.map(({ g, states: to }) => [g, 0, to]);
      scatter(next, states, affine(mean, basis, gather(next, states)));
      let y = null;
      for (let t = 0; t < steps; t++) {
        const ranges = moving.map(({ g, states: from, noise }) => [g, from + t * noise, from + (t + 1) * noise]);
        const fresh = gather(next, ranges), before = y;
        y = fresh.map((e, k) => (before ? correlation[k] * before[k] + Math.sqrt(1 - correlation[k] ** 2) * e : e));
        scatter(next, ranges, affine(noiseMean, noiseBasis, y));
      }
      return next;
    }

    return { transform };
  }

  return { create };
})();
