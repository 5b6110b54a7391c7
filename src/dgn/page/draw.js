/* Drawing on canvases: images, the grid, the displacement. */
"use strict";

const Draw = (() => {
  const READ = { willReadFrequently: true }; // keeps the pixels of a canvas where scripts can read them
  const scratch = document.createElement("canvas");

  /** Planes (channel, row, column) in [0, 1] on the scratch canvas, one pixel a value. */
  function onScratch(planes, channels, size) {
    scratch.width = scratch.height = size;
    const context = scratch.getContext("2d", READ), pixels = context.createImageData(size, size);
    const plane = size * size, green = channels > 1 ? plane : 0, blue = 2 * green;
    for (let i = 0, to = 0; i < plane; i++, to += 4) {
      pixels.data[to] = 255 * planes[i];
      pixels.data[to + 1] = 255 * planes[green + i];
      pixels.data[to + 2] = 255 * planes[blue + i];
      pixels.data[to + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
    return scratch;
  }

  /** An image in a square of `side` pixels of a canvas, its left upper corner at (x, 0). */
  function tile(canvas, planes, channels, size, x, side) {
    const context = canvas.getContext("2d", READ);
    context.imageSmoothingQuality = "high";
    context.drawImage(onScratch(planes, channels, size), 0, 0, size, size, x, 0, side, side);
  }

  /** An image that fills a canvas. */
  function image(canvas, planes, channels, size) {
    tile(canvas, planes, channels, size, 0, canvas.width);
  }

  /** A plane of the displacement, bilinear, at side x side points of the image, relative to its size. */
  function enlarged(displacement, start, size, side) {
    const out = new Float32Array(side * side), scale = size / side;
    for (let y = 0, to = 0; y < side; y++) {
      const v = Math.min(Math.max((y + 0.5) * scale - 0.5, 0), size - 1), top = Math.min(Math.floor(v), size - 2);
      for (let x = 0; x < side; x++, to++) {
        const u = Math.min(Math.max((x + 0.5) * scale - 0.5, 0), size - 1), left = Math.min(Math.floor(u), size - 2);
        const at = start + top * size + left, a = u - left, b = v - top;
        out[to] = ((displacement[at] * (1 - a) + displacement[at + 1] * a) * (1 - b) +
                   (displacement[at + size] * (1 - a) + displacement[at + size + 1] * a) * b) / size;
      }
    }
    return out;
  }

  /** The canonical grid, deformed by the displacement, over the image. A pixel shows the canonical point
   * (x + dx, y + dy), so a line is where that coordinate is a multiple of the spacing; the distance from it is divided
   * by its gradient, so that lines are equally thin where the grid is stretched. */
  function grid(canvas, planes, displacement, channels, size, lines = 10) {
    image(canvas, planes, channels, size);
    const side = canvas.width, context = canvas.getContext("2d", READ);
    const width = Math.max(side / 300, 0.8), cover = new Float32Array(side * side);
    for (const axis of [0, 1]) {
      const phase = enlarged(displacement, axis * size * size, size, side);
      for (let y = 0, i = 0; y < side; y++) {
        for (let x = 0; x < side; x++, i++) phase[i] = ((axis ? y : x) / (side - 1) + phase[i]) * lines;
      }
      for (let y = 0, i = 0; y < side; y++) {
        for (let x = 0; x < side; x++, i++) {
          const right = x < side - 1 ? phase[i + 1] - phase[i] : phase[i] - phase[i - 1];
          const below = y < side - 1 ? phase[i + side] - phase[i] : phase[i] - phase[i - side];
          const distance = Math.abs(phase[i] - Math.round(phase[i])) / (Math.hypot(right, below) + 1e-9);
          cover[i] = Math.max(cover[i], Math.min(Math.max(width + 0.5 - distance, 0), 1));
        }
      }
    }
    context.fillStyle = "rgb(0 0 0 / 0.28)";
    context.fillRect(0, 0, side, side);
    scratch.width = scratch.height = side; // an overlay: some browsers do not let a page read what it has drawn
    const above = scratch.getContext("2d", READ), pixels = above.createImageData(side, side);
    for (let i = 0, to = 0; i < cover.length; i++, to += 4) {
      pixels.data[to] = 255;
      pixels.data[to + 1] = 244;
      pixels.data[to + 2] = 214;
      pixels.data[to + 3] = 255 * 0.9 * cover[i];
    }
    above.putImageData(pixels, 0, 0);
    context.drawImage(scratch, 0, 0);
  }

  /** Arrows from where the colour of a pixel comes to the pixel, over the faded image; the hue is the direction. */
  function arrows(canvas, planes, displacement, channels, size, count = 13) {
    image(canvas, planes, channels, size);
    const side = canvas.width, context = canvas.getContext("2d", READ), scale = side / size;
    context.fillStyle = "rgb(24 26 28 / 0.78)";
    context.fillRect(0, 0, side, side);
    context.lineCap = "round";
    context.lineWidth = Math.max(side / 170, 1);
    for (let row = 0; row < count; row++) {
      for (let column = 0; column < count; column++) {
        const x = Math.round((column + 0.5) * size / count - 0.5), y = Math.round((row + 0.5) * size / count - 0.5);
        const dx = displacement[y * size + x], dy = displacement[size * size + y * size + x];
        const length = Math.hypot(dx, dy) * scale, toX = (x + 0.5) * scale, toY = (y + 0.5) * scale;
        const angle = Math.atan2(-dy, -dx), head = Math.min(0.5 * length, side / 45);
        context.strokeStyle = context.fillStyle = `hsl(${angle * 180 / Math.PI + 200} 70% 68%)`;
        context.beginPath();
        context.moveTo(toX + dx * scale, toY + dy * scale);
        context.lineTo(toX, toY);
        for (const turn of [-0.5, 0.5]) {
          context.moveTo(toX, toY);
          context.lineTo(toX - head * Math.cos(angle + turn), toY - head * Math.sin(angle + turn));
        }
        context.stroke();
      }
    }
  }

  return { image, tile, grid, arrows };
})();
