// The warp of Eq. 2-4 and its two gradients as MindSpore "aot" operators for CPU.
//
//   X(x, y) = sum_ij Xa(i, j) M(1 - |u - i|) M(1 - |v - j|),  u = clamp(x + dx, 0, W - 1),  v = clamp(y + dy, 0, H - 1)
//
// image (N, C, H, W), displacement (N, 2, H, W) in pixels: channel 0 is dx (columns), channel 1 is dy (rows).
// Where a coordinate is clamped, its derivative is 0.
#include "native_op.h"

namespace {

using dgn::Check;
using dgn::kDone;

struct Shape {
  int64_t n, c, h, w;
  int64_t plane() const { return h * w; }
};

// The four neighbours of a source coordinate and its bilinear weights.
struct Tap {
  int32_t corner;  // index of the upper left neighbour in its plane
  int32_t right, down;  // steps to the next column and row; 0 at the last ones
  float a, b;  // fractional parts of u and v
  float dx, dy;  // derivatives of u by dx and of v by dy: 1, or 0 where clamped
};

Tap Locate(int64_t x, int64_t y, float dx, float dy, const Shape &s) {
  const float right = static_cast<float>(s.w - 1), bottom = static_cast<float>(s.h - 1);
  const float u = static_cast<float>(x) + dx, v = static_cast<float>(y) + dy;
  const float uc = u > 0.0f ? std::min(u, right) : 0.0f, vc = v > 0.0f ? std::min(v, bottom) : 0.0f;  // 0 for NaN
  const int32_t i = static_cast<int32_t>(uc), j = static_cast<int32_t>(vc);
  Tap t;
  t.corner = static_cast<int32_t>(j * s.w + i);
  t.right = i + 1 < s.w ? 1 : 0;
  t.down = j + 1 < s.h ? static_cast<int32_t>(s.w) : 0;
  // u - u is 0, or NaN where u is NaN or infinite: that must show in the result, without a read beyond the image
  t.a = uc - static_cast<float>(i) + (u - u);
  t.b = vc - static_cast<float>(j) + (v - v);
  t.dx = u > 0.0f && u < right ? 1.0f : 0.0f;
  t.dy = v > 0.0f && v < bottom ? 1.0f : 0.0f;
  return t;
}

void LocateAll(const float *displacement, const Shape &s, std::vector<Tap> *taps) {
  const float *dx = displacement, *dy = displacement + s.plane();
  int64_t p = 0;
  for (int64_t y = 0; y < s.h; ++y) {
    for (int64_t x = 0; x < s.w; ++x, ++p) (*taps)[p] = Locate(x, y, dx[p], dy[p], s);
  }
}

void Forward(const float *image, const float *displacement, float *out, const Shape &s, std::vector<Tap> *taps) {
  LocateAll(displacement, s, taps);
  for (int64_t c = 0; c < s.c; ++c) {
    const float *source = image + c * s.plane();
    float *target = out + c * s.plane();
    for (int64_t p = 0; p < s.plane(); ++p) {
      const Tap &t = (*taps)[p];
      const float *q = source + t.corner;
      const float upper = q[0] + t.a * (q[t.right] - q[0]);
      const float lower = q[t.down] + t.a * (q[t.down + t.right] - q[t.down]);
      target[p] = upper + t.b * (lower - upper);
    }
  }
}

void ImageGradient(const float *displacement, const float *dout, float *dimage, const Shape &s,
                   std::vector<Tap> *taps) {
  LocateAll(displacement, s, taps);
  std::memset(dimage, 0, sizeof(float) * static_cast<size_t>(s.c * s.plane()));
  for (int64_t c = 0; c < s.c; ++c) {
    const float *g = dout + c * s.plane();
    float *target = dimage + c * s.plane();
    for (int64_t p = 0; p < s.plane(); ++p) {
      const Tap &t = (*taps)[p];
      float *q = target + t.corner;
      const float lower = g[p] * t.b, upper = g[p] - lower;
      q[0] += upper * (1.0f - t.a);
      q[t.right] += upper * t.a;
      q[t.down] += lower * (1.0f - t.a);
      q[t.down + t.right] += lower * t.a;
    }
  }
}

void DisplacementGradient(const float *image, const float *displacement, const float *dout, float *ddisplacement,
                          const Shape &s, std::vector<Tap> *taps) {
  LocateAll(displacement, s, taps);
  float *du = ddisplacement, *dv = ddisplacement + s.plane();
  std::memset(ddisplacement, 0, sizeof(float) * static_cast<size_t>(2 * s.plane()));
  for (int64_t c = 0; c < s.c; ++c) {
    const float *source = image + c * s.plane();
    const float *g = dout + c * s.plane();
    for (int64_t p = 0; p < s.plane(); ++p) {
      const Tap &t = (*taps)[p];
      const float *q = source + t.corner;
      const float across_upper = q[t.right] - q[0], across_lower = q[t.down + t.right] - q[t.down];
      const float down_left = q[t.down] - q[0], down_right = q[t.down + t.right] - q[t.right];
      du[p] += g[p] * t.dx * (across_upper + t.b * (across_lower - across_upper));
      dv[p] += g[p] * t.dy * (down_left + t.a * (down_right - down_left));
    }
  }
}

// Calls work(n, taps) for every sample, in several threads. Samples are independent, so no two threads write to one
// place.
template <typename Work>
void ForEachSample(const Shape &s, Work work) {
  constexpr int64_t kOperations = 10;  // per pixel and channel
  dgn::ParallelFor(s.n, kOperations * s.n * s.c * s.plane(), [&](int64_t begin, int64_t end) {
    std::vector<Tap> taps(static_cast<size_t>(s.plane()));
    for (int64_t n = begin; n < end; ++n) work(n, &taps);
  });
}

Shape ShapeOf(const int64_t *image) { return Shape{image[0], image[1], image[2], image[3]}; }

int RunForward(int nparam, void **params, int64_t **shapes, const char **dtypes) {
  if (const int status = Check(nparam, 3, dtypes)) return status;
  const Shape s = ShapeOf(shapes[0]);
  const auto *image = static_cast<const float *>(params[0]);
  const auto *displacement = static_cast<const float *>(params[1]);
  auto *out = static_cast<float *>(params[2]);
  ForEachSample(s, [&](int64_t n, std::vector<Tap> *taps) {
    const int64_t at = n * s.c * s.plane();
    Forward(image + at, displacement + n * 2 * s.plane(), out + at, s, taps);
  });
  return kDone;
}

int RunImageGradient(int nparam, void **params, int64_t **shapes, const char **dtypes) {
  if (const int status = Check(nparam, 3, dtypes)) return status;
  const Shape s = ShapeOf(shapes[1]);
  const auto *displacement = static_cast<const float *>(params[0]);
  const auto *dout = static_cast<const float *>(params[1]);
  auto *dimage = static_cast<float *>(params[2]);
  ForEachSample(s, [&](int64_t n, std::vector<Tap> *taps) {
    const int64_t at = n * s.c * s.plane();
    ImageGradient(displacement + n * 2 * s.plane(), dout + at, dimage + at, s, taps);
  });
  return kDone;
}

int RunDisplacementGradient(int nparam, void **params, int64_t **shapes, const char **dtypes) {
  if (const int status = Check(nparam, 4, dtypes)) return status;
  const Shape s = ShapeOf(shapes[0]);
  const auto *image = static_cast<const float *>(params[0]);
  const auto *displacement = static_cast<const float *>(params[1]);
  const auto *dout = static_cast<const float *>(params[2]);
  auto *ddisplacement = static_cast<float *>(params[3]);
  ForEachSample(s, [&](int64_t n, std::vector<Tap> *taps) {
    const int64_t at = n * s.c * s.plane(), field = n * 2 * s.plane();
    DisplacementGradient(image + at, displacement + field, dout + at, ddisplacement + field, s, taps);
  });
  return kDone;
}

}  // namespace

// image, displacement -> out
DGN_OPERATOR(WarpForward, RunForward)
// displacement, dout -> dimage
DGN_OPERATOR(WarpImageGradient, RunImageGradient)
// image, displacement, dout -> ddisplacement
DGN_OPERATOR(WarpDisplacementGradient, RunDisplacementGradient)
