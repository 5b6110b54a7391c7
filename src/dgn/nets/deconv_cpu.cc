// Transposed convolution with bias and optional ReLU, and its gradients, as MindSpore "aot" operators for CPU.
//
// x (N, Ci, H, W), weight (Ci, Co, K, K), bias (Co) -> out (N, Co, S*H, S*W), cropped as TensorFlow's SAME:
//
//   out[o] = bias + sum over inputs i and taps t with S*i + t - crop = o of weight[t] * x[i]   (in rows and columns)
//
// The outputs of one phase (o mod S) are sums of shifted input planes. In planes with zero margins a shift is a
// constant offset, and the layer is  out[m][p] = sum_j w[m][j] * source[offset_j + p]  over long runs of positions p:
// one register-blocked kernel (Multiply) computes the forward pass and the gradient to the input.
#include "blocked_sums.h"
#include "native_op.h"

namespace {

using dgn::Check;
using dgn::kDone;
using dgn::kWrongShape;
using dgn::ParallelFor;

constexpr int64_t kGroupPositions = 384;  // small planes of several samples are joined to about this length

// One tap of one axis: outputs of phase `phase` add weight `tap` times the input shifted by `shift`.
struct Tap {
  int64_t phase, tap, shift;
};

// The sizes of a layer, and of its padded planes, in which `group` samples are joined.
struct Layer {
  int64_t n, ci, co, h, w, k, s;
  std::vector<Tap> taps;
  int64_t low = 0, high = 0;  // smallest and largest shift
  int64_t pitch, rows;        // of the padded plane of a sample
  int64_t group, length;      // samples joined, and positions from their first pixel to their last, rounded up

  Layer(const int64_t *x, int64_t outputs, int64_t kernel, int64_t stride)
      : n(x[0]), ci(x[1]), co(outputs), h(x[2]), w(x[3]), k(kernel), s(stride) {
    const int64_t crop = std::max<int64_t>(k - s, 0) / 2;
    for (int64_t phase = 0; phase < s; ++phase) {
      for (int64_t tap = (phase + crop) % s; tap < k; tap += s) {
        taps.push_back({phase, tap, (phase + crop - tap) / s});
        low = std::min(low, taps.back().shift);
        high = std::max(high, taps.back().shift);
      }
    }
    pitch = w + high - low;
    rows = h + high - low;
    group = std::max<int64_t>(1, std::min(n, kGroupPositions / (rows * pitch)));
    length = RoundUp((group - 1) * rows * pitch + (h - 1) * pitch + w, kRun);
  }

  int64_t groups() const { return (n + group - 1) / group; }
  int64_t phases() const { return s * s; }
  int64_t plane() const { return h * w; }
  int64_t margin() const { return RoundUp(std::max(high, -low) * (pitch + 1), kWidth); }
  int64_t operations() const { return 2 * n * ci * co * k * k * plane(); }
  // a plane is read up to `margin` positions before its first and after its last pixel
  int64_t padded_length() const { return length + 2 * margin(); }
};

// A tap of both axes. phase: S * row phase + column phase; weight: index in the K x K kernel; dy, dx: shifts.
struct Tap2 {
  int64_t phase, weight, dy, dx;
};

// The taps of all phases, or of one.
std::vector<Tap2> Taps(const Layer &a, int64_t only = -1) {
  std::vector<Tap2> all;
  for (const Tap &y : a.taps) {
    for (const Tap &x : a.taps) {
      const int64_t phase = y.phase * a.s + x.phase;
      if (only < 0 || phase == only) all.push_back({phase, y.tap * a.k + x.tap, y.shift, x.shift});
    }
  }
  return all;
}

// The position of the first pixel of sample `g` of a group.
int64_t Origin(const Layer &a, int64_t g) { return g * a.rows * a.pitch; }

// Copies the planes of the samples of one group, from sample `first` on, into padded planes of zeros.
void PadInput(const Layer &a, const float *x, int64_t first, float *planes) {
  for (int64_t g = 0; g < std::min(a.group, a.n - first); ++g) {
    for (int64_t c = 0; c < a.ci; ++c) {
      const float *from = x + ((first + g) * a.ci + c) * a.plane();
      float *to = planes + c * a.padded_length() + a.margin() + Origin(a, g);
      for (int64_t y = 0; y < a.h; ++y) std::memcpy(to + y * a.pitch, from + y * a.w, sizeof(float) * a.w);
    }
  }
}

// Splits a row of W * S values into S rows of W, one for each phase, `distance` values apart.
void Deinterleave(const float *row, int64_t w, int64_t s, float *to, int64_t distance) {
  if (s == 2) {  // the usual case, in a form that compilers turn into shuffles
    float *even = to, *odd = to + distance;
    for (int64_t x = 0; x < w; ++x) {
      even[x] = row[2 * x];
      odd[x] = row[2 * x + 1];
    }
    return;
  }
  for (int64_t px = 0; px < s; ++px) {
    for (int64_t x = 0; x < w; ++x) to[px * distance + x] = row[x * s + px];
  }
}

// Splits the gradient to the outputs into padded planes, [phase][channel]; with ReLU it is 0 where the output is 0.
template <bool kRelu>
void PadGradient(const Layer &a, const float *out, const float *dout, int64_t first, float *planes) {
  const int64_t width = a.w * a.s;
  std::vector<float> masked(static_cast<size_t>(width));
  for (int64_t g = 0; g < std::min(a.group, a.n - first); ++g) {
    for (int64_t c = 0; c < a.co; ++c) {
      const int64_t at = ((first + g) * a.co + c) * a.plane() * a.phases();
      for (int64_t row = 0; row < a.h * a.s; ++row) {
        const float *gradient = dout + at + row * width, *output = out + at + row * width;
        for (int64_t o = 0; o < width; ++o) masked[o] = kRelu && !(output[o] > 0) ? 0.0f : gradient[o];
        float *to = planes + ((row % a.s) * a.s * a.co + c) * a.padded_length() + a.margin() + Origin(a, g) +
                    (row / a.s) * a.pitch;
        Deinterleave(masked.data(), a.w, a.s, to, a.co * a.padded_length());
      }
    }
  }
}

template <bool kRelu>
void Forward(const Layer &a, const float *x, const float *weight, const float *bias, float *out) {
  std::vector<std::vector<float>> weights;
  std::vector<std::vector<int64_t>> offsets;
  for (int64_t phase = 0; phase < a.phases(); ++phase) {
    const std::vector<Tap2> taps = Taps(a, phase);
    const int64_t count = static_cast<int64_t>(taps.size());
    weights.push_back(Pack(a.co, a.ci * count, [&](int64_t m, int64_t j) {
      return weight[((j / count) * a.co + m) * a.k * a.k + taps[j % count].weight];
    }));
    offsets.emplace_back();
    for (int64_t c = 0; c < a.ci; ++c) {
      for (const Tap2 &t : taps) offsets.back().push_back(c * a.padded_length() + a.margin() + t.dy * a.pitch + t.dx);
    }
  }
  ParallelFor(a.groups(), a.operations(), [&](int64_t begin, int64_t end) {
    std::vector<float> planes(static_cast<size_t>(a.ci * a.padded_length()));
    std::vector<float> sums(static_cast<size_t>(a.phases() * a.co * a.length));
    for (int64_t group = begin; group < end; ++group) {
      PadInput(a, x, group * a.group, planes.data());
      for (int64_t phase = 0; phase < a.phases(); ++phase) {
        Multiply(weights[phase], offsets[phase], a.co, planes.data(), sums.data() + phase * a.co * a.length, a.length);
      }
      for (int64_t g = 0; g < std::min(a.group, a.n - group * a.group); ++g) {
        for (int64_t c = 0; c < a.co; ++c) {
          float *to = out + ((group * a.group + g) * a.co + c) * a.plane() * a.phases();
          for (int64_t row = 0; row < a.h * a.s; ++row, to += a.w * a.s) {
            for (int64_t px = 0; px < a.s; ++px) {
              const int64_t phase = (row % a.s) * a.s + px;
              const float *from = sums.data() + (phase * a.co + c) * a.length + Origin(a, g) +
                                  (row / a.s) * a.pitch;
              for (int64_t i = 0; i < a.w; ++i) {
                const float value = from[i] + bias[c];
                to[i * a.s + px] = kRelu ? std::max(value, 0.0f) : value;
              }
            }
          }
        }
      }
    }
  });
}

template <bool kRelu>
void InputGradient(const Layer &a, const float *weight, const float *out, const float *dout, float *dx) {
  const std::vector<Tap2> taps = Taps(a);
  const int64_t count = static_cast<int64_t>(taps.size());
  const std::vector<float> weights = Pack(a.ci, a.co * count, [&](int64_t m, int64_t j) {
    return weight[(m * a.co + j / count) * a.k * a.k + taps[j % count].weight];
  });
  std::vector<int64_t> offsets;
  for (int64_t c = 0; c < a.co; ++c) {
    for (const Tap2 &t : taps) {
      offsets.push_back((t.phase * a.co + c) * a.padded_length() + a.margin() - t.dy * a.pitch - t.dx);
    }
  }
  ParallelFor(a.groups(), a.operations(), [&](int64_t begin, int64_t end) {
    std::vector<float> planes(static_cast<size_t>(a.phases() * a.co * a.padded_length()));
    std::vector<float> sums(static_cast<size_t>(a.ci * a.length));
    for (int64_t group = begin; group < end; ++group) {
      PadGradient<kRelu>(a, out, dout, group * a.group, planes.data());
      Multiply(weights, offsets, a.ci, planes.data(), sums.data(), a.length);
      for (int64_t g = 0; g < std::min(a.group, a.n - group * a.group); ++g) {
        for (int64_t c = 0; c < a.ci; ++c) {
          float *to = dx + ((group * a.group + g) * a.ci + c) * a.plane();
          const float *from = sums.data() + c * a.length + Origin(a, g);
          for (int64_t y = 0; y < a.h; ++y) std::memcpy(to + y * a.w, from + y * a.pitch, sizeof(float) * a.w);
        }
      }
    }
  });
}

template <bool kRelu>
void WeightGradient(const Layer &a, const float *x, const float *out, const float *dout, float *dweight, float *dbias) {
  constexpr int kInputs = 4, kTerms = 4;
  const std::vector<Tap2> taps = Taps(a);
  const int64_t count = static_cast<int64_t>(taps.size()), terms = a.co * count, size = a.ci * terms;
  // partial sums over a fixed number of parts of the batch: the result does not depend on the number of threads
  const int64_t parts = std::min<int64_t>(8, a.groups());
  std::vector<float> partial(static_cast<size_t>(parts * (size + a.co)));
  ParallelFor(parts, a.operations(), [&](int64_t begin, int64_t end) {
    std::vector<float> planes(static_cast<size_t>(a.ci * a.padded_length()));
    std::vector<float> gradients(static_cast<size_t>(a.phases() * a.co * a.padded_length()));
    for (int64_t part = begin; part < end; ++part) {
      float *sums = partial.data() + part * (size + a.co);
      for (int64_t group = a.groups() * part / parts; group < a.groups() * (part + 1) / parts; ++group) {
        if ((group + 1) * a.group > a.n) {  // a smaller last group: clear the samples of the one before
          std::fill(planes.begin(), planes.end(), 0.0f);
          std::fill(gradients.begin(), gradients.end(), 0.0f);
        }
        PadInput(a, x, group * a.group, planes.data());
        PadGradient<kRelu>(a, out, dout, group * a.group, gradients.data());
        for (int64_t c = 0; c < a.ci; c += kInputs) {
          for (int64_t j = 0; j < terms; j += kTerms) {
            const float *left[kInputs], *right[kTerms];
            float *to[kInputs * kTerms], unused = 0;
            for (int i = 0; i < kInputs; ++i) {
              left[i] = planes.data() + std::min(c + i, a.ci - 1) * a.padded_length() + a.margin();
            }
            for (int i = 0; i < kTerms; ++i) {
              const int64_t term = std::min(j + i, terms - 1), channel = term / count;
              const Tap2 &t = taps[term % count];
              right[i] = gradients.data() + (t.phase * a.co + channel) * a.padded_length() + a.margin() -
                         t.dy * a.pitch - t.dx;
              for (int m = 0; m < kInputs; ++m) {
                const bool used = c + m < a.ci && j + i < terms;
                to[m * kTerms + i] = used ? sums + ((c + m) * a.co + channel) * a.k * a.k + t.weight : &unused;
              }
            }
            Products<kInputs, kTerms>(left, right, a.length, to);
          }
        }
        for (int64_t phase = 0; phase < a.phases(); ++phase) {
          for (int64_t c = 0; c < a.co; ++c) {
            const float *gradient = gradients.data() + (phase * a.co + c) * a.padded_length() + a.margin();
            Vec sum = {};
            for (int64_t p = 0; p < a.length; p += kWidth) sum += Load(gradient + p);
            sums[size + c] += Sum(sum);
          }
        }
      }
    }
  });
  for (int64_t i = 0; i < size + a.co; ++i) {
    float total = 0;
    for (int64_t part = 0; part < parts; ++part) total += partial[part * (size + a.co) + i];
    (i < size ? dweight[i] : dbias[i - size]) = total;
  }
}

// Whether the shapes are those of one layer.
bool Fits(const int64_t *x, const int64_t *weight, const int64_t *out) {
  const int64_t s = x[2] > 0 ? out[2] / x[2] : 0;
  return s > 0 && out[0] == x[0] && out[1] == weight[1] && x[1] == weight[0] && out[2] == s * x[2] &&
         out[3] == s * x[3] && weight[2] == weight[3];
}

Layer LayerOf(const int64_t *x, const int64_t *weight, const int64_t *out) {
  return Layer(x, weight[1], weight[2], out[2] / x[2]);
}

template <bool kRelu>
int RunForward(int nparam, void **params, int64_t **shapes, const char **dtypes) {
  if (const int status = Check(nparam, 4, dtypes)) return status;
  if (!Fits(shapes[0], shapes[1], shapes[3])) return kWrongShape;
  auto f = reinterpret_cast<float **>(params);
  Forward<kRelu>(LayerOf(shapes[0], shapes[1], shapes[3]), f[0], f[1], f[2], f[3]);
  return kDone;
}

template <bool kRelu>
int RunInputGradient(int nparam, void **params, int64_t **shapes, const char **dtypes) {
  if (const int status = Check(nparam, 5, dtypes)) return status;
  if (!Fits(shapes[0], shapes[1], shapes[2])) return kWrongShape;
  auto f = reinterpret_cast<float **>(params);
  InputGradient<kRelu>(LayerOf(shapes[0], shapes[1], shapes[2]), f[1], f[2], f[3], f[4]);
  return kDone;
}

template <bool kRelu>
int RunWeightGradient(int nparam, void **params, int64_t **shapes, const char **dtypes) {
  if (const int status = Check(nparam, 6, dtypes)) return status;
  if (!Fits(shapes[0], shapes[1], shapes[2])) return kWrongShape;
  auto f = reinterpret_cast<float **>(params);
  WeightGradient<kRelu>(LayerOf(shapes[0], shapes[1], shapes[2]), f[0], f[2], f[3], f[4], f[5]);
  return kDone;
}

}  // namespace

// x, weight, bias -> out
DGN_OPERATOR(DeconvForward, RunForward<false>)
DGN_OPERATOR(DeconvReluForward, RunForward<true>)
// x, weight, out, dout -> dx (only the shape of x is used)
DGN_OPERATOR(DeconvInputGradient, RunInputGradient<false>)
DGN_OPERATOR(DeconvReluInputGradient, RunInputGradient<true>)
// x, weight, out, dout -> dweight, dbias (only the shape of weight is used)
DGN_OPERATOR(DeconvWeightGradient, RunWeightGradient<false>)
DGN_OPERATOR(DeconvReluWeightGradient, RunWeightGradient<true>)
