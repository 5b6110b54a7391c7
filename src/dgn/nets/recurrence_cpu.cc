// The recurrence of a transition (Eq. 11) and its gradients as MindSpore "aot" operators for CPU.
//
//   a_t = relu(p_t + s_t Ws),  b_t = relu(a_t W2 + b2),  s_{t+1} = tanh(b_t W3 + b3),  s_0 = 0
//
// projection p (N, T, H), Ws (D, H), W2 (H, H), b2 (H), W3 (H, D), b3 (D) -> states (N, T + 1, D). The layers are a few
// dozen units wide: as separate operators their launches would take longer than their arithmetic.
#include "native_op.h"

#include <cmath>

namespace {

using dgn::Check;
using dgn::kDone;
using dgn::kWrongShape;

struct Shape {
  int64_t n, t, h, d;
  int64_t operations() const { return 2 * n * t * h * (2 * d + h); }
};

struct Weights {
  const float *state, *second, *second_bias, *third, *third_bias;
};

// out[j] += sum_i x[i] w[i][j]
void Add(const float *x, const float *w, int64_t inputs, int64_t outputs, float *out) {
  for (int64_t i = 0; i < inputs; ++i) {
    for (int64_t j = 0; j < outputs; ++j) out[j] += x[i] * w[i * outputs + j];
  }
}

// out[i] = sum_j y[j] w[i][j]
void Transposed(const float *y, const float *w, int64_t inputs, int64_t outputs, float *out) {
  for (int64_t i = 0; i < inputs; ++i) {
    float sum = 0.0f;
    for (int64_t j = 0; j < outputs; ++j) sum += y[j] * w[i * outputs + j];
    out[i] = sum;
  }
}

void Relu(float *x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = x[i] < 0.0f ? 0.0f : x[i];  // NaN stays NaN
}

// a = relu(projection + state Ws) and b = relu(a W2 + b2) for one state.
void Hidden(const float *projection, const float *state, const Weights &w, const Shape &s, float *a, float *b) {
  std::copy(projection, projection + s.h, a);
  Add(state, w.state, s.d, s.h, a);
  Relu(a, s.h);
  std::copy(w.second_bias, w.second_bias + s.h, b);
  Add(a, w.second, s.h, s.h, b);
  Relu(b, s.h);
}

void Forward(const float *projection, const Weights &w, const Shape &s, float *states) {
  std::vector<float> a(s.h), b(s.h);
  std::fill(states, states + s.d, 0.0f);
  for (int64_t t = 0; t < s.t; ++t) {
    float *next = states + (t + 1) * s.d;
    Hidden(projection + t * s.h, states + t * s.d, w, s, a.data(), b.data());
    std::copy(w.third_bias, w.third_bias + s.d, next);
    Add(b.data(), w.third, s.h, s.d, next);
    for (int64_t j = 0; j < s.d; ++j) next[j] = std::tanh(next[j]);
  }
}

// Back-propagation through time: calls use(t, a, b, da, db, du) from the last step to the first one, with the hidden
// layers and the gradients with respect to the arguments of both relu functions and of tanh.
template <typename Use>
void Backward(const float *projection, const Weights &w, const Shape &s, const float *states, const float *dstates,
              Use use) {
  std::vector<float> a(s.h), b(s.h), da(s.h), db(s.h), du(s.d), ds(s.d, 0.0f);  // ds: from later steps
  for (int64_t t = s.t - 1; t >= 0; --t) {
    const float *next = states + (t + 1) * s.d, *dnext = dstates + (t + 1) * s.d;
    Hidden(projection + t * s.h, states + t * s.d, w, s, a.data(), b.data());
    for (int64_t j = 0; j < s.d; ++j) du[j] = (dnext[j] + ds[j]) * (1.0f - next[j] * next[j]);
    Transposed(du.data(), w.third, s.h, s.d, db.data());
    for (int64_t i = 0; i < s.h; ++i) db[i] = b[i] > 0.0f ? db[i] : 0.0f;
    Transposed(db.data(), w.second, s.h, s.h, da.data());
    for (int64_t i = 0; i < s.h; ++i) da[i] = a[i] > 0.0f ? da[i] : 0.0f;
    Transposed(da.data(), w.state, s.d, s.h, ds.data());
    use(t, a.data(), b.data(), da.data(), db.data(), du.data());
  }
}

// w[i][j] += x[i] y[j]
void Outer(const float *x, const float *y, int64_t rows, int64_t columns, float *w) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) w[i * columns + j] += x[i] * y[j];
  }
}

Weights WeightsOf(void **params) {
  const auto at = [&](int k) { return static_cast<const float *>(params[k]); };
  return Weights{at(1), at(2), at(3), at(4), at(5)};
}

bool ShapeOf(int64_t **shapes, Shape *s) {
  const int64_t *projection = shapes[0], *state = shapes[1];
  *s = Shape{projection[0], projection[1], projection[2], state[0]};
  return state[1] == s->h && shapes[2][0] == s->h && shapes[2][1] == s->h && shapes[3][0] == s->h &&
         shapes[4][0] == s->h && shapes[4][1] == s->d && shapes[5][0] == s->d;
}

int RunForward(int nparam, void **params, int64_t **shapes, const char **dtypes) {
  if (const auto status = Check(nparam, 7, dtypes); status != kDone) return status;
  Shape s;
  if (!ShapeOf(shapes, &s)) return kWrongShape;
  const auto *projection = static_cast<const float *>(params[0]);
  auto *states = static_cast<float *>(params[6]);
  dgn::ParallelFor(s.n, s.operations(), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      Forward(projection + n * s.t * s.h, WeightsOf(params), s, states + n * (s.t + 1) * s.d);
    }
  });
  return kDone;
}

int RunInputGradient(int nparam, void **params, int64_t **shapes, const char **dtypes) {
  if (const auto status = Check(nparam, 9, dtypes); status != kDone) return status;
  Shape s;
  if (!ShapeOf(shapes, &s)) return kWrongShape;
  const auto *projection = static_cast<const float *>(params[0]), *states = static_cast<const float *>(params[6]);
  const auto *dstates = static_cast<const float *>(params[7]);
  auto *dprojection = static_cast<float *>(params[8]);
  dgn::ParallelFor(s.n, 3 * s.operations(), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t from = n * (s.t + 1) * s.d;
      float *target = dprojection + n * s.t * s.h;
      Backward(projection + n * s.t * s.h, WeightsOf(params), s, states + from, dstates + from,
               [&](int64_t t, const float *, const float *, const float *da, const float *, const float *) {
                 std::copy(da, da + s.h, target + t * s.h);
               });
    }
  });
  return kDone;
}

// Single-threaded: the order of summation is fixed, so the result is deterministic.
int RunWeightGradient(int nparam, void **params, int64_t **shapes, const char **dtypes) {
  if (const auto status = Check(nparam, 13, dtypes); status != kDone) return status;
  Shape s;
  if (!ShapeOf(shapes, &s)) return kWrongShape;
  const auto *projection = static_cast<const float *>(params[0]), *states = static_cast<const float *>(params[6]);
  const auto *dstates = static_cast<const float *>(params[7]);
  float *out[5];
  const int64_t sizes[5] = {s.d * s.h, s.h * s.h, s.h, s.h * s.d, s.d};
  for (int k = 0; k < 5; ++k) {
    out[k] = static_cast<float *>(params[8 + k]);
    std::fill(out[k], out[k] + sizes[k], 0.0f);
  }
  const float one = 1.0f;
  for (int64_t n = 0; n < s.n; ++n) {
    const int64_t from = n * (s.t + 1) * s.d;
    Backward(projection + n * s.t * s.h, WeightsOf(params), s, states + from, dstates + from,
             [&](int64_t t, const float *a, const float *b, const float *da, const float *db, const float *du) {
               Outer(states + from + t * s.d, da, s.d, s.h, out[0]);
               Outer(a, db, s.h, s.h, out[1]);
               Outer(&one, db, 1, s.h, out[2]);
               Outer(b, du, s.h, s.d, out[3]);
               Outer(&one, du, 1, s.d, out[4]);
             });
  }
  return kDone;
}

}  // namespace

// projection, Ws, W2, b2, W3, b3 -> states
DGN_OPERATOR(RecurrenceForward, RunForward)
// projection, Ws, W2, b2, W3, b3, states, dstates -> dprojection
DGN_OPERATOR(RecurrenceInputGradient, RunInputGradient)
// projection, Ws, W2, b2, W3, b3, states, dstates -> dWs, dW2, db2, dW3, db3
DGN_OPERATOR(RecurrenceWeightGradient, RunWeightGradient)
