/* Curves, numbers and pictures of the run. */
"use strict";

const About = (() => {
  const { data } = State;
  const WIDTH = 420, HEIGHT = 206, LEFT = 44, RIGHT = 16, TOP = 8, BOTTOM = 40; // of a chart

  function text(value) {
    const node = document.createElement("i");
    node.textContent = value;
    return node.innerHTML.replace(/"/g, "&quot;");
  }

  /** Round values between low and high, about `count`. */
  function ticks(low, high, count) {
    const rough = (high - low || 1) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
    const found = [];
    for (let value = Math.ceil(low / step) * step; value <= high + 1e-9 * step; value += step) {
      found.push(Number(value.toPrecision(6)));
    }
    return found;
  }

  /** A chart as SVG; markup in a page brings its own namespace. */
  function chart(panel) {
    const xs = panel.lines.flatMap((line) => line.x), ys = panel.lines.flatMap((line) => line.y);
    const range = [Math.min(...xs), Math.max(...xs)], low = Math.min(0, ...ys), high = Math.max(...ys) || 1;
    const x = (value) => LEFT + (value - range[0]) / (range[1] - range[0] || 1) * (WIDTH - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let svg = `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${text(panel.title)}">`;
    for (const value of ticks(low, high, 4)) {
      svg += `<line class="rule" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(value)}" y2="${y(value)}"/>` +
        `<text x="${LEFT - 6}" y="${y(value) + 4}" text-anchor="end">${value}</text>`;
    }
    for (const value of ticks(...range, 4).filter((n) => Number.isInteger(n))) {
      svg += `<text x="${x(value)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${value}</text>`;
    }
    svg += `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">epoch</text>`;
    panel.lines.forEach((line, k) => {
      const points = line.x.map((value, i) => `${x(value).toFixed(1)},${y(line.y[i]).toFixed(1)}`).join(" ");
      svg += `<polyline class="line line-${k}" points="${points}"/>`;
    });
    return `${svg}</svg>`;
  }

  function addCurves() {
    for (const panel of data.curves) {
      const caption = element("figcaption", {}, element("strong", {}, panel.title), " ", panel.note);
      const figure = element("figure", {}, caption);
      const place = element("div", {});
      place.innerHTML = chart(panel);
      figure.append(place);
      if (panel.lines.length > 1) {
        figure.append(element("p", { class: "legend small" }, ...panel.lines.map((line, k) =>
          element("span", { class: `key line-${k}` }, line.name))));
      }
      document.getElementById("curves").append(figure);
    }
  }

  function addNumbers() {
    for (const number of data.numbers) {
      document.getElementById("numbers").append(element("div", { class: "number" },
        element("span", { class: "value" }, number.value, element("span", { class: "unit" }, ` ${number.unit}`)),
        element("span", {}, number.label), element("span", { class: "small" }, number.note)));
    }
  }

  /** Bars: which donor an exchanged face follows. */
  function addExchange() {
    if (!data.exchange) return;
    const bar = (value, g) => {
      const made = element("span", { class: `bar group-${g}` }, element("span", { class: "amount" }, value.toFixed(2)));
      made.style.setProperty("--part", `${100 * Math.min(Math.max(value, 0), 1)}%`);
      return element("td", {}, made);
    };
    const rows = data.exchange.rows.map((row) => element("tr", {}, element("th", { scope: "row" }, row.factor),
                                                         bar(row.appearance, 0), bar(row.geometry, 1)));
    document.getElementById("exchange").append(element("table", { class: "follows" },
      element("caption", {}, element("strong", {}, "Which donor does an exchanged face resemble? "),
              "It has the appearance of one face and the geometry of another. Correlation with both, " +
              `${data.exchange.title}; 1 is full agreement.`),
      element("tr", {}, element("td", {}), element("th", { scope: "col" }, "with the appearance donor"),
              element("th", { scope: "col" }, "with the geometry donor")), ...rows));
  }

  function addPictures() {
    for (const picture of data.pictures) {
      document.getElementById("pictures").append(element("figure", {},
        element("img", { src: picture.source, alt: picture.caption, loading: "lazy" }),
        element("figcaption", {}, picture.caption)));
    }
  }

  function build() {
    document.getElementById("facts").textContent = `${data.run}: ${data.facts.join(" · ")}`;
    addNumbers();
    addExchange();
    addCurves();
    addPictures();
    if (Object.keys(data.metrics).length) {
      const all = document.getElementById("all");
      all.hidden = false;
      all.querySelector("pre").textContent = JSON.stringify(data.metrics, null, 2).replace(/[{}[\]",]/g, "")
        .split("\n").filter((line) => line.trim()).map((line) => line.slice(2)).join("\n");
    }
  }

  return { build };
})();
