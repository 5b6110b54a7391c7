// Register-blocked sums of products over runs of floats: the arithmetic of deconv_cpu.cc.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

// kRows x kVectors sums, kVectors inputs and one weight must fit into the registers (32 of AVX-512 and NEON, 16 of
// AVX).
#if defined(__AVX512F__)
constexpr int kWidth = 16, kVectors = 2, kRows = 8;
#elif defined(__AVX__)
constexpr int kWidth = 8, kVectors = 2, kRows = 4;
#else
constexpr int kWidth = 4, kVectors = 3, kRows = 4;
#endif
typedef float Vec __attribute__((vector_size(kWidth * sizeof(float))));
constexpr int64_t kRun = kWidth * kVectors;  // positions of a block

Vec Load(const float *p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

void Store(float *p, Vec v) { std::memcpy(p, &v, sizeof v); }

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// out[m][p] = sum_j weights[j][m] * source[offsets[j] + p] for M rows and `length` positions.
template <int M>
void MultiplyRows(const float *weights, const std::vector<int64_t> &offsets, const float *source, float *out,
                  int64_t length) {
  for (int64_t p = 0; p < length; p += kRun) {
    Vec sum[M][kVectors] = {};
    const float *weight = weights;
    for (const int64_t offset : offsets) {
      Vec x[kVectors];
      for (int v = 0; v < kVectors; ++v) x[v] = Load(source + offset + p + v * kWidth);
      for (int m = 0; m < M; ++m, ++weight) {
        for (int v = 0; v < kVectors; ++v) sum[m][v] += *weight * x[v];
      }
    }
    for (int m = 0; m < M; ++m) {
      for (int v = 0; v < kVectors; ++v) Store(out + m * length + p + v * kWidth, sum[m][v]);
    }
  }
}

// MultiplyRows for `rows` <= M rows.
template <int M>
void MultiplyBlock(int64_t rows, const float *weights, const std::vector<int64_t> &offsets, const float *source,
                   float *out, int64_t length) {
  if constexpr (M > 1) {
    if (rows < M) return MultiplyBlock<M - 1>(rows, weights, offsets, source, out, length);
  }
  MultiplyRows<M>(weights, offsets, source, out, length);
}

// MultiplyRows for any number of rows; weights are in the order of `Pack`.
void Multiply(const std::vector<float> &weights, const std::vector<int64_t> &offsets, int64_t rows, const float *source,
              float *out, int64_t length) {
  const auto terms = static_cast<int64_t>(offsets.size());
  for (int64_t m = 0; m < rows; m += kRows) {
    MultiplyBlock<kRows>(std::min<int64_t>(kRows, rows - m), weights.data() + m * terms, offsets, source,
                         out + m * length, length);
  }
}

// Weights in blocks of kRows rows (the last one smaller): [block][term][row].
template <typename At>
std::vector<float> Pack(int64_t rows, int64_t terms, At at) {
  std::vector<float> packed(static_cast<size_t>(rows * terms));
  float *to = packed.data();
  for (int64_t first = 0; first < rows; first += kRows) {
    for (int64_t j = 0; j < terms; ++j) {
      for (int64_t m = first; m < std::min(first + kRows, rows); ++m) *to++ = at(m, j);
    }
  }
  return packed;
}

// The sum of a vector's elements by halving, so that the additions of one level are independent.
float Sum(Vec v) {
  float part[kWidth];
  std::memcpy(part, &v, sizeof v);
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) part[i] += part[i + half];
  }
  return part[0];
}

// Adds the products of A input planes with B shifted gradient planes to sums[a][b].
template <int A, int B>
void Products(const float *const *x, const float *const *d, int64_t length, float *const *sums) {
  Vec sum[A][B] = {};
  for (int64_t p = 0; p < length; p += kWidth) {
    Vec left[A], right[B];
    for (int i = 0; i < A; ++i) left[i] = Load(x[i] + p);
    for (int i = 0; i < B; ++i) right[i] = Load(d[i] + p);
    for (int i = 0; i < A; ++i) {
      for (int j = 0; j < B; ++j) sum[i][j] += left[i] * right[j];
    }
  }
  for (int i = 0; i < A; ++i) {
    for (int j = 0; j < B; ++j) *sums[i * B + j] += Sum(sum[i][j]);
  }
}

}  // namespace
