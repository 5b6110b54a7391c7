/* The large image with its views and buttons; the page is put together here. */
"use strict";

(() => {
  const { data, size, channels, frames } = State;
  const byId = (id) => document.getElementById(id);
  const INSET = 128; // pixels of a small view
  const FRAMES_PER_SECOND = 10;
  const VIEWS = [
    { name: "Image", text: "The decoded image.",
      draw: (canvas, now) => Draw.image(canvas, now.image, channels, size) },
    { name: "Before the warp", text: "Only the appearance, in a common pose: colour and light without pose and shape.",
      draw: (canvas, now) => Draw.image(canvas, now.appearance, channels, size) },
    { name: "Grid", text: "A regular grid on the appearance, warped by the displacement.",
      draw: (canvas, now) => Draw.grid(canvas, now.image, now.displacement, channels, size) },
    { name: "Displacement", text: "How far, and in which direction, the geometry moves each point of the appearance.",
      draw: (canvas, now) => Draw.arrows(canvas, now.image, now.displacement, channels, size) },
  ];
  const views = data.model.groups.length > 1 ? VIEWS : VIEWS.slice(0, 1);
  let view = 0, playing = null, waiting = false;

  /* ---- the picture ---- */

  function draw() {
    waiting = false;
    const now = State.current();
    views[view].draw(byId("picture"), now);
    views.forEach((one, k) => { if (one.canvas) views[k].draw(one.canvas, now); });
    byId("reset").setAttribute("aria-disabled", String(!State.moved())); // not disabled: it would lose the focus
  }

  function drawSoon() {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }

  function choose(k) {
    view = k;
    views[k].input.checked = true;
    byId("view-text").textContent = views[k].text;
    byId("picture").setAttribute("aria-label", `${views[k].name}: ${views[k].text}`);
    drawSoon();
  }

  function buildViews() {
    if (views.length === 1) {
      byId("views").remove();
      document.querySelector(".stage").classList.add("alone");
      return;
    }
    views.forEach((one, k) => {
      one.canvas = element("canvas", { width: INSET, height: INSET, "aria-hidden": "true" });
      one.input = element("input", { type: "radio", name: "view", "aria-label": one.name });
      one.input.addEventListener("change", () => choose(k));
      byId("views").append(element("label", { class: "choice" }, one.input, one.canvas, element("span", {}, one.name)));
    });
    choose(0);
  }

  /* ---- clips ---- */

  function play(on) {
    clearInterval(playing);
    playing = on ? setInterval(() => State.show((State.frame() + 1) % frames), 1000 / FRAMES_PER_SECOND) : null;
    byId("play").textContent = on ? "Pause" : "Play";
    if (!on) Sliders.refresh();
  }

  function buildClock() {
    if (!frames) return;
    byId("clock").hidden = byId("key-play").hidden = false;
    byId("frame").max = frames - 1;
    byId("frame").addEventListener("input", () => {
      play(false);
      State.show(Number(byId("frame").value));
    });
    byId("play").addEventListener("click", () => play(!playing));
    const follow = () => {
      byId("frame").value = State.frame();
      byId("frame-number").textContent = `${State.frame() + 1} / ${frames}`;
      byId("frame").setAttribute("aria-valuetext", `${State.frame() + 1} of ${frames}`);
    };
    State.listen((by) => { if (by === "frame") follow(); });
    follow();
    play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  }

  /* ---- buttons and keys ---- */

  const labelled = (g) => data.groups[g].labels > 0;
  const random = () => State.set(State.random(), "random");
  const mean = () => State.set(State.mean(), "mean");
  const reset = () => { if (State.moved()) State.reset(); };

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !byId("keys").checked) return;
    const own = event.target.matches("button, summary, pre, input:not([type=range])"); // uses the space bar itself
    const number = Number(event.key), act = { r: random, m: mean, 0: reset }[event.key.toLowerCase()]
      || (event.key === " " && frames && !own && (() => play(!playing)))
      || (number >= 1 && number <= views.length && views.length > 1 && (() => choose(number - 1)));
    if (!act) return;
    event.preventDefault();
    if (!event.repeat) act(); // a key that is held acts once
  }

  /* ---- the whole page ---- */

  function words() {
    const one = data.noun, article = /^[aeiou]/.test(one) ? "an" : "a", separate = views.length > 1;
    const from = !separate ? "one latent vector (a list of numbers)"
      : labelled(0) ? "a label (its appearance) and one latent vector, a list of numbers: its geometry (pose, shape)"
        : `two latent vectors (lists of numbers): appearance (${data.groups[0].hint}) and geometry ` +
          `(${data.groups[1].hint})`;
    const learned = separate && !labelled(0) ? " It learned to separate the two from images without labels." : "";
    const motion = State.parts.length > 2 ? " Further numbers control its motion." : "";
    byId("title").textContent = separate ? `Edit the appearance and geometry of ${article} ${one}`
      : `Edit ${article} ${one}`;
    byId("lede").textContent = `A generator network decodes this ${one} from ${from}.${motion}${learned} Move a ` +
      "slider to update the image; the model runs in your browser.";
    byId("random").textContent = `Random ${one}`;
    byId("mean").textContent = `Mean ${one}`;
    byId("sliders-text").textContent = "Each slider moves the latents along one principal axis (one direction of " +
      "change), the largest effect first. The strip above it previews the results.";
  }

  words();
  buildViews();
  Mix.build();
  Sliders.build();
  buildClock();
  About.build();
  byId("random").addEventListener("click", random);
  byId("mean").addEventListener("click", mean);
  byId("reset").addEventListener("click", reset);
  new ResizeObserver(([stage]) => { // what has the focus must not lie behind the picture, see style.css
    document.documentElement.style.setProperty("--stage", `${stage.target.offsetHeight}px`);
  }).observe(document.querySelector(".stage"));
  document.addEventListener("keydown", onKey);
  State.listen(drawSoon);
  document.addEventListener("rest", () => {
    byId("timing").textContent = `One image takes ${State.milliseconds().toFixed(1)} ms.`;
  });
  draw();
  document.documentElement.dataset.ready = "yes";
})();
