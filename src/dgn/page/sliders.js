/* Sliders along the principal axes of each group, with a strip of pictures of what each does to the present image. */
"use strict";

const Sliders = (() => {
  const RANGE = 3, STEP = 0.05; // in standard deviations of the prior
  const PLACES = [-3, -2, -1, 0, 1, 2, 3]; // of the pictures in a strip
  const FIRST = 6, MORE = 10; // axes shown at first, and by "more"
  const TILE = 64; // pixels of a picture in a strip
  const rows = [], labels = [], work = background();

  /** The coordinate of the present latents along an axis. */
  function coordinate(row) {
    const z = State.latents()[row.g];
    return row.axis.reduce((sum, value, k) => sum + value * z[k], 0);
  }

  /** The group's latents with another coordinate along the axis. */
  function movedTo(row, value) {
    const z = State.latents()[row.g].slice(), step = value - coordinate(row);
    row.axis.forEach((direction, k) => { z[k] += step * direction; });
    return z;
  }

  function change(g, z, by) {
    State.set(State.latents().map((old, k) => (k === g ? z : old)), by);
  }

  /** A slider of group g along column k of its axes. */
  function addRow(place, g, directions, k) {
    const d = State.groups[g].states, title = State.data.groups[g].title;
    const fraction = State.data.groups[g].share[k];
    const amount = fraction >= 0.01 ? `${Math.round(100 * fraction)}%` : "less than 1%";
    const effect = `${amount} of the total effect of this group`;
    const strip = element("canvas", { width: PLACES.length * TILE, height: TILE, "aria-hidden": "true" });
    const input = element("input", { type: "range", min: -RANGE, max: RANGE, step: STEP, value: 0,
                                     "aria-label": `${title}, direction ${k + 1}: ${effect}` });
    const row = { g, input, strip, axis: Float32Array.from({ length: d }, (_, i) => directions[i * d + k]) };
    input.addEventListener("input", () => change(g, movedTo(row, Number(input.value)), "slider"));
    strip.addEventListener("click", (event) => {
      const part = (event.clientX - strip.getBoundingClientRect().left) / strip.clientWidth;
      input.value = PLACES[Math.min(Math.floor(part * PLACES.length), PLACES.length - 1)];
      input.dispatchEvent(new Event("input"));
      input.focus();
    });
    place.append(element("div", { class: "axis", title: `Direction ${k + 1}: ${effect}` }, strip, input));
    rows.push(row);
  }

  function addAxes(panel, g) {
    const group = State.data.groups[g], directions = State.arrayOf(group.axes), d = State.groups[g].states;
    const place = element("div", { class: "axes" }), more = element("button", { type: "button", class: "quiet" });
    let shown = 0;
    function extend(count) {
      const from = shown;
      for (shown = Math.min(shown + count, d); rows.filter((row) => row.g === g).length < shown;) {
        addRow(place, g, directions, rows.filter((row) => row.g === g).length);
      }
      more.hidden = shown === d;
      more.textContent = `Show ${Math.min(MORE, d - shown)} more`;
      if (!from) return;
      rows.filter((row) => row.g === g)[from].input.focus(); // the button may be gone
      update();
      refresh();
    }
    more.addEventListener("click", () => extend(MORE));
    panel.append(place, more);
    extend(FIRST);
  }

  /** A choice of one label, each with the picture that it gives now. */
  function addLabels(panel, g) {
    const count = State.data.groups[g].labels, place = element("div", { class: "labels", role: "radiogroup" });
    place.setAttribute("aria-label", "Label");
    for (let label = 0; label < count; label++) {
      const picture = element("canvas", { width: TILE, height: TILE, "aria-hidden": "true" });
      const input = element("input", { type: "radio", name: "label", value: label, "aria-label": `label ${label}` });
      input.addEventListener("change", () => change(g, State.oneHot(count, label), "label"));
      place.append(element("label", { class: "choice" }, input, picture, element("span", {}, String(label))));
      labels.push({ g, label, count, input, picture });
    }
    panel.append(place);
  }

  function build() {
    const place = document.getElementById("groups");
    State.parts.forEach((part, p) => {
      const label = `Shuffle the ${part.name.toLowerCase()}`;
      const shuffle = element("button", { type: "button", class: "quiet", "aria-label": label }, "Shuffle");
      shuffle.addEventListener("click", () => State.set(State.random([part]), "random"));
      const panel = element("div", { class: `group group-${p}` }, element("div", { class: "heading" },
        element("h3", {}, part.name), shuffle), element("p", { class: "small" }, part.hint));
      if (part.group !== null) (State.data.groups[part.group].labels ? addLabels : addAxes)(panel, part.group);
      place.append(panel);
    });
    State.listen((by) => {
      if (by === "frame") return;
      update();
      refresh();
    });
    update();
    refresh(0);
  }

  /** Sliders and labels as the present latents have them. */
  function update() {
    for (const row of rows) {
      const held = document.activeElement === row.input && State.moved(); // by the reader
      if (held) continue;
      const value = coordinate(row);
      const end = Math.max(RANGE, STEP * Math.ceil(Math.abs(value) / STEP)); // inferred latents may lie beyond
      row.input.min = -end;
      row.input.max = end;
      row.input.value = value;
    }
    for (const one of labels) one.input.checked = State.latents()[one.g][one.label] === 1;
  }

  /** Draws the strips again, once the latents have been at rest for a while; "rest" is sent when that is done. */
  function refresh(delay = 120) {
    const jobs = [], t = State.frame(); // one frame for all, also of a clip that plays
    for (const row of rows) {
      PLACES.forEach((value, i) => jobs.push(() => {
        Draw.tile(row.strip, State.preview(row.g, movedTo(row, value), t), State.channels, State.size, i * TILE, TILE);
      }));
    }
    for (const one of labels) {
      jobs.push(() => Draw.image(one.picture, State.preview(one.g, State.oneHot(one.count, one.label), t),
                                 State.channels, State.size));
    }
    jobs.push(() => document.dispatchEvent(new Event("rest")));
    work.start(jobs, delay);
  }

  return { build, refresh, busy: work.busy };
})();
