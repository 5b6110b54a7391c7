/* Two samples, chosen from thumbnails: the exchange of their appearance and geometry (of clips: and motion), and
 * sliders between them. */
"use strict";

const Mix = (() => {
  const CELL = 160; // pixels of a picture in a table
  const { data, groups, frames, parts } = State;
  const chosen = { a: data.pair[0], b: data.pair[1] }; // [set, index] of each
  const cells = [], blends = [], headers = [], work = background();
  let following = []; // of each part, whether the shown latents are what its slider says
  let ready = false;

  const latentsOf = (name) => State.sample(...chosen[name]);

  /** The latents of A and B mixed: weights[p] of part p, 0 for A and 1 for B. Parts that are not `moved` are those of
   * `others`. */
  function mixed(weights, moved = parts, others = latentsOf("a")) {
    const a = latentsOf("a"), b = latentsOf("b"), next = others.map((z) => z.slice());
    parts.forEach((part, p) => {
      if (!moved.includes(part)) return;
      for (const [g, from, to] of part.ranges) {
        for (let k = from; k < to; k++) next[g][k] = a[g][k] + weights[p] * (b[g][k] - a[g][k]);
      }
    });
    return next;
  }

  function weights() {
    return blends.map((blend) => Number(blend.input.value));
  }

  /* ---- thumbnails ---- */

  function thumbnail(set, index) {
    const { sprite, count } = data.samples[set];
    const made = element("span", { class: "thumbnail" });
    made.style.backgroundImage = `url(${sprite})`;
    made.style.backgroundSize = `${100 * count}% 100%`;
    made.style.backgroundPosition = `${count > 1 ? 100 * index / (count - 1) : 0}% 0`;
    return made;
  }

  function picker(name) {
    const place = document.getElementById(`picker-${name}`), letter = name.toUpperCase();
    place.setAttribute("role", "radiogroup");
    place.setAttribute("aria-label", `${data.noun} ${letter}`);
    place.append(element("h3", {}, element("span", { class: "letter" }, letter), ` Choose ${data.noun} ${letter}`));
    data.samples.forEach((samples, set) => {
      const text = samples.unseen ? "never seen in training" : "from the training set";
      const row = element("div", { class: "thumbnails" });
      for (let index = 0; index < samples.count; index++) {
        const input = element("input", { type: "radio", name: `sample-${name}`,
                                         "aria-label": `${data.noun} ${index + 1} ${text}` });
        input.checked = chosen[name][0] === set && chosen[name][1] === index;
        input.addEventListener("change", () => choose(name, set, index));
        row.append(element("label", { class: "choice" }, input, thumbnail(set, index)));
      }
      place.append(element("p", { class: "small" }, text), row);
    });
  }

  function choose(name, set, index) {
    chosen[name] = [set, index];
    const end = name === "a" ? 0 : 1;
    for (const blend of blends) blend.input.value = end;
    apply();
    redraw();
  }

  /* ---- the exchange ---- */

  /** A table of two by two: part `row` of A or B, the other parts `columns` of A or B. */
  function table(title, rowParts, columnParts) {
    const names = (list) => list.map((p) => parts[p].name.toLowerCase()).join(" and ");
    const head = element("tr", {}, element("td", {}));
    const made = element("table", { class: "exchange" }, element("caption", {}, title), head);
    const header = (scope, list, name) => {
      const place = element("span", { class: "original" });
      headers.push({ place, name });
      return element("th", { scope }, place, element("span", { class: "small" }, names(list), " of ",
                                                     element("span", { class: "letter" }, name.toUpperCase())));
    };
    for (const name of ["a", "b"]) head.append(header("col", columnParts, name));
    for (const row of ["a", "b"]) {
      const line = element("tr", {}, header("row", rowParts, row));
      for (const column of ["a", "b"]) {
        const own = parts.map((_, p) => Number((rowParts.includes(p) ? row : column) === "b"));
        const canvas = element("canvas", { width: CELL, height: CELL });
        const button = element("button", { type: "button", class: "cell", "aria-label":
          `${names(rowParts)} of ${row.toUpperCase()}, ${names(columnParts)} of ${column.toUpperCase()}` }, canvas);
        button.addEventListener("click", () => {
          blends.forEach((blend, p) => { blend.input.value = own[p]; });
          apply();
        });
        cells.push({ weights: own, canvas, button, images: [] });
        line.append(element("td", {}, button));
      }
      made.append(line);
    }
    document.getElementById("tables").append(made);
  }

  function addBlend(part, p) {
    const input = element("input", { type: "range", min: 0, max: 1, step: 0.02, value: 0,
                                     "aria-label": `${part.name} from A to B` });
    input.addEventListener("input", () => apply([part]));
    document.getElementById("blends").append(element("div", { class: `blend group-${p}` },
      element("h3", {}, part.name), element("div", { class: "ends" }, element("span", { class: "letter" }, "A"), input,
                                            element("span", { class: "letter" }, "B"))));
    blends.push({ input });
  }

  /** Shows what the sliders of some parts say; the other parts stay as they are. */
  function apply(moved = parts) {
    State.change((latents) => mixed(weights(), moved, latents), "mix");
    parts.forEach((part, p) => { following[p] ||= moved.includes(part); });
    mark();
  }

  /** Marks the table's picture that is shown. */
  function mark() {
    const now = weights(), mixture = parts.every((_, p) => following[p]);
    for (const cell of cells) {
      const shown = mixture && cell.weights.every((weight, p) => weight === now[p]);
      cell.button.classList.toggle("shown", shown);
      cell.button.setAttribute("aria-pressed", String(shown));
    }
  }

  function drawCell(cell) {
    const image = cell.images[State.frame()];
    if (image) Draw.image(cell.canvas, image, State.channels, State.size);
  }

  /** Draws the originals and the tables again. */
  function redraw() {
    for (const { place, name } of headers) place.replaceChildren(thumbnail(...chosen[name]));
    work.start(cells.flatMap((cell) => {
      const imageOf = State.imagesOf(mixed(cell.weights));
      cell.images = [];
      return Array.from({ length: frames || 1 }, (_, t) => () => {
        cell.images[t] = imageOf(t);
        if (t === State.frame()) drawCell(cell);
      });
    }), 30);
  }

  function build() {
    const noun = data.noun;
    document.getElementById("mix-title").textContent = `Mix two ${data.nouns}`;
    document.getElementById("mix-text").textContent = groups.length > 1
      ? `Choose two ${data.nouns}. The table exchanges their parts: the diagonal shows the two as the model decodes ` +
        "them, the other images are new. Each slider moves one part from A to B."
      : `Choose two ${data.nouns}, and move from one to the other.`;
    picker("a");
    picker("b");
    parts.forEach(addBlend);
    const clips = parts.length > 2;
    if (groups.length > 1) table(clips ? "Exchange of the appearance" : "", [0], clips ? [1, 2] : [1]);
    if (clips) table("Exchange of the motion", [0, 1], [2]);
    State.listen((by) => {
      if (by === "frame") cells.forEach(drawCell);
      else if (by !== "mix") {
        following = [];
        mark();
      }
    });
    choose("a", ...chosen.a);
    ready = true;
  }

  return { build, busy: () => !ready || work.busy() };
})();
