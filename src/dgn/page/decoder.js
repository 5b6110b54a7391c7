/* The decoder of a deformable generator network: latents -> image, in plain JavaScript.
 *
 *   const decoder = DgnDecoder.create(description, DgnDecoder.bytesOf(base64));
 *   const { image, appearance, displacement } = decoder.decode([zAppearance, zGeometry]);
 *
 * The description is made by dgn/page/description.py. Maps are Float32Arrays in the order (channel, row, column); an
 * image is in [0, 1], a displacement (dx, then dy) is in pixels. Of a clip, decode() gives an array of frames.
 *
 *   Z_t = Z_0 + s_t, s_t = f(s_{t-1}, xi_t), s_0 = 0      frameLatents (clips only, Eq. 10 and 11)
 *   appearance   = 0.5 + 0.5 tanh(stack(Z^a))              branch
 *   displacement = S (max tanh(stack(Z^g))) S^T            branch, S: weights of a B-spline, if the model has one;
 *                                                          of a monotone field L_c .. R_c^T for each component c and
 *                                                          an affine part; with an offset on the authors' grid
 *   image(x, y)  = appearance(x + dx, y + dy)              warp, bilinear, coordinates clamped (Eq. 2 to 4)
 *   image       += conv3x3(image)                          refine, if the model has it
 *
 * A stack is a dense layer and transposed convolutions, ReLU after all but the last.
 */
"use strict";

const DgnDecoder = (() => {
  /* ---- arrays ---- */

  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

  /** The bytes of a base64 text, as a Uint8Array. */
  function bytesOf(text) {
    const value = new Uint8Array(128);
    for (let i = 0; i < 64; i++) value[DIGITS.charCodeAt(i)] = i;
    const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
    const bytes = new Uint8Array(text.length / 4 * 3);
    for (let i = 0, at = 0; i < text.length; i += 4) {
      const word = value[text.charCodeAt(i)] << 18 | value[text.charCodeAt(i + 1)] << 12 |
        value[text.charCodeAt(i + 2)] << 6 | value[text.charCodeAt(i + 3)];
      bytes[at++] = word >> 16;
      bytes[at++] = word >> 8;
      bytes[at++] = word;
    }
    return bytes.subarray(0, bytes.length - padding);
  }

  /** The Float32Array of a reference {at, shape, scales}. With scales the values are 16-bit integers, to be multiplied
   * by the scale of their output, the second axis of the shape. */
  function arrayOf(reference, bytes) {
    const count = reference.shape.reduce((a, b) => a * b, 1);
    const start = bytes.byteOffset + reference.at;
    if (!reference.scales) return new Float32Array(bytes.buffer.slice(start, start + 4 * count));
    const integers = new Int16Array(bytes.buffer.slice(start, start + 2 * count));
    const scales = arrayOf(reference.scales, bytes), outputs = reference.shape[1];
    const taps = reference.shape.slice(2).reduce((a, b) => a * b, 1);
    return Float32Array.from(integers, (n, i) => n * scales[Math.floor(i / taps) % outputs]);
  }

  /* ---- layers ---- */

  /** out_o = bias_o + sum_i x_i weight_io, weight (inputs, outputs). */
  function dense(x, weight, bias) {
    const outputs = bias.length, out = Float32Array.from(bias);
    for (let i = 0; i < x.length; i++) {
      const value = x[i], row = i * outputs;
      if (value !== 0) for (let o = 0; o < outputs; o++) out[o] += value * weight[row + o];
    }
    return out;
  }

  function relu(x) {
    for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] = 0;
    return x;
  }

  function tanh(x) {
    for (let i = 0; i < x.length; i++) x[i] = Math.tanh(x[i]);
    return x;
  }

  /** `x` with zeros up to `length` values. */
  function padded(x, length) {
    if (x.length >= length) return x;
    const longer = new Float32Array(length);
    longer.set(x);
    return longer;
  }

  /** Transposed convolution, (inputs, side, side) -> (outputs, stride * side, stride * side), weight (inputs, outputs,
   * kernel, kernel). Every input pixel adds its kernel to the output; the sum, of (side - 1) * stride + kernel pixels a
   * side, is cropped as TensorFlow's SAME: of an uneven rest the larger part at the end. Four inputs are added at once,
   * which takes half the time; the layer's inputs are padded to a multiple of 4. */
  function deconv(x, side, layer) {
    const { weight, bias, inputs, outputs, kernel, stride } = layer;
    const size = side * stride, whole = (side - 1) * stride + Math.max(kernel, stride);
    const crop = Math.max(kernel - stride, 0) >> 1, plane = side * side, taps = kernel * kernel;
    const out = new Float32Array(outputs * size * size), sum = new Float32Array(whole * whole);
    x = padded(x, inputs * plane);
    for (let o = 0; o < outputs; o++) {
      sum.fill(0);
      for (let i = 0; i < inputs; i += 4) {
        for (let k = 0; k < taps; k++) {
          const tap = (i * outputs + o) * taps + k, next = outputs * taps;
          const w0 = weight[tap], w1 = weight[tap + next], w2 = weight[tap + 2 * next], w3 = weight[tap + 3 * next];
          const corner = Math.floor(k / kernel) * whole + k % kernel;
          for (let y = 0; y < side; y++) {
            let from = i * plane + y * side, to = corner + y * stride * whole;
            for (const end = from + side; from < end; from++, to += stride) {
              sum[to] += w0 * x[from] + w1 * x[from + plane] + w2 * x[from + 2 * plane] + w3 * x[from + 3 * plane];
            }
          }
        }
      }
      for (let y = 0, to = o * size * size; y < size; y++) {
        for (let c = 0, from = (y + crop) * whole + crop; c < size; c++) out[to++] = sum[from++] + bias[o];
      }
    }
    return out;
  }

  /** left field right^T for each component of a field of points x points; matrices (size, points) of each. */
  function fromBasis(field, basis, points, size) {
    const out = new Float32Array(2 * size * size), rows = new Float32Array(size * points);
    for (let c = 0; c < 2; c++) {
      const left = basis.left[c], right = basis.right[c];
      for (let y = 0; y < size; y++) {
        for (let q = 0; q < points; q++) {
          let sum = 0;
          for (let p = 0; p < points; p++) sum += left[y * points + p] * field[(c * points + p) * points + q];
          rows[y * points + q] = sum;
        }
      }
      for (let y = 0; y < size; y++) {
        for (let x = 0; x < size; x++) {
          let sum = 0;
          for (let q = 0; q < points; q++) sum += rows[y * points + q] * right[x * points + q];
          out[(c * size + y) * size + x] = sum;
        }
      }
    }
    return out;
  }

  /** Adds the affine displacement of the latents z to a field. */
  function addAffine(field, z, affine, size) {
    const a = tanh(dense(z, affine.weight, affine.bias)), plane = size * size;
    for (let c = 0; c < 2; c++) {
      for (let y = 0, at = c * plane; y < size; y++) {
        for (let x = 0; x < size; x++, at++) {
          field[at] += a[3 * c] * affine.ramp[x] + a[3 * c + 1] * affine.ramp[y] + a[3 * c + 2] * affine.shift;
        }
      }
    }
    return field;
  }

  /** image(x, y) = appearance(x + dx, y + dy), bilinear; coordinates beyond the border are clamped to it. */
  function warp(appearance, displacement, channels, size) {
    const out = new Float32Array(channels * size * size), plane = size * size, last = size - 1;
    for (let y = 0, i = 0; y < size; y++) {
      for (let x = 0; x < size; x++, i++) {
        const u = Math.min(Math.max(x + displacement[i], 0), last);
        const v = Math.min(Math.max(y + displacement[plane + i], 0), last);
        const left = Math.min(Math.floor(u), last - 1), top = Math.min(Math.floor(v), last - 1);
        const a = u - left, b = v - top;
        for (let c = 0, at = top * size + left; c < channels; c++, at += plane) {
          const upper = appearance[at] * (1 - a) + appearance[at + 1] * a;
          const lower = appearance[at + size] * (1 - a) + appearance[at + size + 1] * a;
          out[c * plane + i] = upper * (1 - b) + lower * b;
        }
      }
    }
    return out;
  }

  /** image + conv3x3(image), zeros beyond the border; weight (outputs, inputs, 3, 3). */
  function refine(image, weight, bias, channels, size) {
    const out = new Float32Array(image.length), plane = size * size;
    for (let o = 0; o < channels; o++) {
      for (let y = 0; y < size; y++) {
        for (let x = 0; x < size; x++) {
          const at = o * plane + y * size + x;
          let sum = image[at] + bias[o];
          for (let i = 0; i < channels; i++) {
            for (let ky = 0; ky < 3; ky++) {
              for (let kx = 0; kx < 3; kx++) {
                const v = y + ky - 1, u = x + kx - 1;
                if (v < 0 || v >= size || u < 0 || u >= size) continue;
                sum += weight[((o * channels + i) * 3 + ky) * 3 + kx] * image[i * plane + v * size + u];
              }
            }
          }
          out[at] = sum;
        }
      }
    }
    return out;
  }

  /* ---- the model ---- */

  /** The arrays of a layer of the description; a convolution's inputs are padded to a multiple of 4. */
  function layerOf(layer, bytes) {
    const [inputs, outputs, kernel] = layer.weight.shape;
    const more = kernel ? Math.ceil(inputs / 4) * 4 : inputs;
    const weight = padded(arrayOf(layer.weight, bytes), more * outputs * (kernel || 1) ** 2);
    return { weight, bias: arrayOf(layer.bias, bytes), inputs: more, outputs, kernel, stride: layer.stride,
             activation: layer.activation === "tanh" ? tanh : relu };
  }

  /** A decoder of the description; bytes: its arrays. */
  function create(description, bytes) {
    const { size, channels, frames } = description;
    const groups = description.groups.map((group) => ({
      ...group,
      layers: group.layers.map((layer) => layerOf(layer, bytes)),
      basis: group.basis && { left: group.basis.left.map((one) => arrayOf(one, bytes)),
                                  right: group.basis.right.map((one) => arrayOf(one, bytes)) },
      points: group.basis && group.basis.left[0].shape[1],
      affine: group.affine && { ...layerOf(group.affine, bytes), ramp: arrayOf(group.affine.ramp, bytes),
                                shift: group.affine.shift },
      offset: group.offset && arrayOf(group.offset, bytes),
      transition: group.transition && {
        noise: group.transition.noise, layers: group.transition.layers.map((layer) => layerOf(layer, bytes)) },
    }));
    const refining = description.refine && {
      weight: arrayOf(description.refine.weight, bytes), bias: arrayOf(description.refine.bias, bytes) };

    /** Latents of a group at every frame, Z_0 .. Z_T; of an image, or of a group that does not change, only Z_0. */
    function frameLatents(g, z) {
      const { states, transition } = groups[g];
      const start = Float32Array.from(z.slice(0, states)), found = [start];
      if (!transition) return found;
      const [first, second, third] = transition.layers;
      let state = new Float32Array(states);
      for (let at = states; at + transition.noise <= z.length; at += transition.noise) {
        const input = new Float32Array(states + transition.noise);
        input.set(state);
        input.set(z.slice(at, at + transition.noise), states);
        let hidden = relu(dense(input, first.weight, first.bias));
        hidden = relu(dense(hidden, second.weight, second.bias));
        state = tanh(dense(hidden, third.weight, third.bias));
        found.push(start.map((value, k) => value + state[k]));
      }
      return found;
    }

    /** What a group's generator makes of the latents of one image: appearance, or displacement. */
    function branch(g, z) {
      const { layers, scale, shift, basis, points, affine, offset } = groups[g];
      let side = groups[g].side, x = relu(dense(z, layers[0].weight, layers[0].bias));
      for (const layer of layers.slice(1)) {
        x = layer.activation(deconv(x, side, layer));
        side *= layer.stride;
      }
      for (let i = 0; i < x.length; i++) x[i] = scale * x[i] + shift;
      if (basis) x = fromBasis(x, basis, points, size);
      if (affine) x = addAffine(x, z, affine, size);
      return offset ? x.map((value, i) => value + offset[i]) : x;
    }

    /** The image of the branches' outputs: warped and refined, if the model does so. */
    function compose(appearance, displacement) {
      if (!displacement) return appearance;
      const image = warp(appearance, displacement, channels, size);
      return refining ? refine(image, refining.weight, refining.bias, channels, size) : image;
    }

    function decodeFrame(latents) {
      const [appearance, displacement] = latents.map((z, g) => branch(g, z));
      return { image: compose(appearance, displacement), appearance, displacement };
    }

    /** Latents of each group -> {image, appearance, displacement}; of a clip an array of them, one a frame. */
    function decode(latents) {
      const overTime = latents.map((z, g) => frameLatents(g, z));
      const at = (t) => overTime.map((all) => all[Math.min(t, all.length - 1)]);
      if (!frames) return decodeFrame(at(0));
      return Array.from({ length: frames }, (_, t) => decodeFrame(at(t)));
    }

    return { size, channels, frames, frameLatents, branch, compose, decode };
  }

  return { create, bytesOf, arrayOf };
})();
