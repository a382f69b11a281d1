// Inner loops of the fast codec and of the fast golden GEMM, compiled on first use if there is a
// C++ compiler (mixdit_sw.native). The torch forms beside their callers compute the same bits.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace {

constexpr int kLanes = 16;
constexpr int kOcpLanes = 32;

float float_of(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

double double_of(int64_t bits) {
    double x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

int64_t bits_of(double x) {
    int64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

// One element at any exponent; `field` is E - tau.
template <bool kTruncates>
float quantize_element(float x, uint32_t own_field, int field, int magnitude_bits) {
    const double step = std::ldexp(1.0, field - 127 - (magnitude_bits - 1));
    const double limit = (1 << magnitude_bits) - 1;
    const double real = own_field == 0 ? 0.0 : x / step;
    const double code = kTruncates ? std::trunc(real) : std::nearbyint(real);
    return static_cast<float>(std::min(std::max(code, -limit), limit) * step + 0.0);
}

// decode(encode(x)) of one block; see mixdit_sw/codec/fake.py.
template <bool kTruncates>
void quantize_block(const float* x, float* out, int magnitude_bits) {
    uint32_t fields[kLanes], pairs[kLanes];
    std::memcpy(fields, x, sizeof fields);
    uint32_t exponent = 0;
    for (int i = 0; i < kLanes; i++) {
        fields[i] = (fields[i] >> 23) & 0xFF;
        exponent = std::max(exponent, fields[i]);
    }
    if (exponent == 0 || exponent == 255) {
        std::fill(out, out + kLanes, exponent ? float_of(0x7FC00000) : 0.0f);
        return;
    }
    for (int i = 0; i < kLanes; i++)
        pairs[i] = std::max(std::max(fields[i], fields[i ^ 1]), exponent - 1);
    if (exponent < 9 || exponent > 230) {
        for (int i = 0; i < kLanes; i++)
            out[i] = quantize_element<kTruncates>(x[i], fields[i], static_cast<int>(pairs[i]),
                                                  magnitude_bits);
        return;
    }
    const uint32_t ones = (1u << 23) - (1u << (24 - magnitude_bits));
    const float up = static_cast<float>(1 << (24 - magnitude_bits));
    for (int i = 0; i < kLanes; i++) {
        const float largest = float_of(pairs[i] << 23 | ones);
        if (kTruncates) {
            const float step = largest / static_cast<float>((1 << magnitude_bits) - 1);
            out[i] = std::trunc(x[i] / step) * step + 0.0f;
            continue;
        }
        const float magic = largest * up;
        const float rounded = (x[i] + magic) - magic;
        const float capped = rounded > largest ? largest : rounded;
        out[i] = capped < -largest ? -largest : capped;
    }
}

// Rows of k elements; the last block of a row counts as padded with zeros.
template <bool kTruncates>
void quantize_rows(const float* x, float* out, int64_t rows, int64_t k, int magnitude_bits) {
    const int64_t whole = k / kLanes * kLanes;
    for (int64_t row = 0; row < rows; row++, x += k, out += k) {
        for (int64_t i = 0; i < whole; i += kLanes)
            quantize_block<kTruncates>(x + i, out + i, magnitude_bits);
        if (whole < k) {
            float tail[kLanes] = {};
            std::copy(x + whole, x + k, tail);
            quantize_block<kTruncates>(tail, tail, magnitude_bits);
            std::copy(tail, tail + (k - whole), out + whole);
        }
    }
}

// An OCP element format: emax, log2 of the least step, mantissa bits, the largest code.
struct OcpElement {
    int largest_exponent, lsb, mantissa_bits;
    double max_code;
};

// decode(encode(x)) of one OCP block at any exponent, in double.
void quantize_ocp_exactly(const float* x, float* out, int count, int scale, const OcpElement& e) {
    const double step = std::ldexp(1.0, scale + e.lsb);
    for (int i = 0; i < count; i++) {
        const double y = x[i] / step, magnitude = std::abs(y);
        const int own = magnitude > 0 ? std::ilogb(magnitude) - e.mantissa_bits : 0;
        const double quantum = std::ldexp(1.0, std::min(std::max(own, 0), 62));
        const double code = std::min(std::nearbyint(magnitude / quantum) * quantum, e.max_code);
        out[i] = static_cast<float>(std::copysign(code * step, y) + 0.0);
    }
}

constexpr int kNanScale = 255 - 127;

// Exponent X of a block's scale; kNanScale for a NaN block.
int ocp_scale(const float* x, int count, const OcpElement& e) {
    uint32_t largest = 0;
    for (int i = 0; i < count; i++) {
        uint32_t bits;
        std::memcpy(&bits, x + i, sizeof bits);
        largest = std::max(largest, bits & 0x7FFFFFFF);
    }
    if (largest >= 0x7F800000) return kNanScale;
    if (largest == 0) return -127;
    const int field = static_cast<int>(largest >> 23);
    const int own = field ? field - 127 : std::ilogb(float_of(largest));
    return std::max(own - e.largest_exponent, -127);
}

// decode(encode(x)) of one OCP block of `count` elements; returns its scale's exponent, see
// mixdit_sw/codec/fake.py.
int quantize_ocp_block(const float* x, float* out, int count, const OcpElement& e) {
    const int scale = ocp_scale(x, count, e);
    if (scale == kNanScale) {
        std::fill(out, out + count, float_of(0x7FC00000));
        return scale;
    }
    if (std::abs(scale + e.largest_exponent) > 63) {
        quantize_ocp_exactly(x, out, count, scale, e);
        return scale;
    }
    // Exponent fields of the least step and of the least normal element, thus of every subnormal.
    const int step = scale + e.lsb + 127;
    const uint32_t least = static_cast<uint32_t>(step + e.mantissa_bits);
    const float limit =
        static_cast<float>(e.max_code) * float_of(static_cast<uint32_t>(step) << 23);
    const uint32_t up = (23u - e.mantissa_bits) << 23;
    for (int i = 0; i < count; i++) {
        uint32_t bits;
        std::memcpy(&bits, x + i, sizeof bits);
        const uint32_t own = (bits >> 23) & 0xFF;
        const uint32_t exponent = own > least ? own : least;
        const float magic = 1.5f * float_of((exponent << 23) + up);
        const float rounded = (x[i] + magic) - magic;
        const float capped = rounded > limit ? limit : rounded;
        out[i] = (capped < -limit ? -limit : capped) + 0.0f;
    }
    return scale;
}

}  // namespace

extern "C" {

// Rows of k elements in OCP blocks of `unit`; the last block of a row may be short.
void fake_quantize_ocp(const float* x, float* out, int64_t rows, int64_t k, int64_t unit,
                       int64_t largest_exponent, int64_t lsb, int64_t mantissa_bits,
                       int64_t max_code) {
    const OcpElement e{static_cast<int>(largest_exponent), static_cast<int>(lsb),
                       static_cast<int>(mantissa_bits), static_cast<double>(max_code)};
    for (int64_t row = 0; row < rows; row++, x += k, out += k)
        for (int64_t i = 0; i < k; i += unit)
            quantize_ocp_block(x + i, out + i, static_cast<int>(std::min(unit, k - i)), e);
}

// Micro-exponent blocks, rounded to nearest even or truncated.
void fake_quantize(const float* x, float* out, int64_t rows, int64_t k, int64_t magnitude_bits,
                   int64_t truncates) {
    const int bits = static_cast<int>(magnitude_bits);
    if (truncates) quantize_rows<true>(x, out, rows, k, bits);
    else quantize_rows<false>(x, out, rows, k, bits);
}

// OCP blocks of `unit` elements, x (blocks, unit), as codes and as an exponent for each K-block.
void encode_ocp(const float* x, void* codes, uint8_t* exponents, int64_t blocks, int64_t unit,
                int64_t largest_exponent, int64_t lsb, int64_t mantissa_bits, int64_t max_code,
                int64_t code_bytes) {
    const OcpElement e{static_cast<int>(largest_exponent), static_cast<int>(lsb),
                       static_cast<int>(mantissa_bits), static_cast<double>(max_code)};
    const int count = static_cast<int>(unit);
    for (int64_t n = 0; n < blocks; n++, x += unit, exponents += unit / kLanes) {
        float values[kOcpLanes];
        const int scale = quantize_ocp_block(x, values, count, e);
        std::fill(exponents, exponents + unit / kLanes, static_cast<uint8_t>(scale + 127));
        if (scale == kNanScale) std::fill(values, values + count, 0.0f);
        const double up = std::ldexp(1.0, -(scale + e.lsb));
        for (int i = 0; i < count; i++) {
            const double code = values[i] * up;
            if (code_bytes == 2) static_cast<int16_t*>(codes)[n * unit + i] = code;
            else if (code_bytes == 4) static_cast<int32_t*>(codes)[n * unit + i] = code;
            else static_cast<int64_t*>(codes)[n * unit + i] = code;
        }
    }
}

// Chains of fused multiply-adds in K order, each rounded once to FP32; see
// mixdit_sw/gemm/fast_values.py. a is (rows, k), b is (k, columns), all finite.
void multiply_values(const double* a, const double* b, double* scratch, float* out, int64_t rows,
                     int64_t columns, int64_t k) {
    constexpr double kNearlyNormal = 0x1p-126 - 0x1p-151;
    for (int64_t i = 0; i < rows; i++) {
        double* total = scratch + i * columns;
        std::fill(total, total + columns, 0.0);
        for (int64_t n = 0; n < k; n++) {
            const double left = a[i * k + n];
            const double* right = b + n * columns;
            for (int64_t j = 0; j < columns; j++) {
                const double x = total[j], y = left * right[j];
                const double rounded = x + y;
                const double of_y = rounded - x;
                const double error = (x - (rounded - of_y)) + (y - of_y);
                const int64_t bits = bits_of(rounded);
                const int64_t toward = (error > 0) == (rounded > 0) ? 1 : -1;
                const bool adjust = error != 0 && (bits & 1) == 0 && std::abs(x) < 0x1p200;
                const double odd = double_of(adjust ? bits + toward : bits);
                const double kept = std::abs(odd) < kNearlyNormal ? 0.0 : odd;
                total[j] = static_cast<double>(static_cast<float>(kept));
            }
        }
        for (int64_t j = 0; j < columns; j++) out[i * columns + j] = static_cast<float>(total[j]);
    }
}

// One step of kind `aligned` on a tile; see mixdit_sw/gemm/fast_aligned.py. `row` and `column` are
// the bits of the doubles 2**exponent, A's exponents raised by one; the other numbers are f, q, g,
// the greatest lift in bits, and one less than the bits of a block that has none.
void aligned_step(double* value, const double* dot, const int64_t* row, const int64_t* column,
                  int64_t rows, int64_t columns, int64_t significand_bits, int64_t step_bits,
                  int64_t guard_bits, int64_t lift_bits, int64_t block_magnitude_bits) {
    constexpr int64_t kOne = int64_t{1} << 52;
    const int64_t mask = -step_bits * kOne;
    const int64_t guard = guard_bits * kOne;
    const int64_t most_lift = lift_bits * kOne;
    const int64_t largest = (block_magnitude_bits - 1) * kOne;
    const double to_room = std::ldexp(1.0, static_cast<int>(step_bits + 2 - significand_bits));
    const double below_one = -(1.0 - 0x1p-53);
    for (int64_t i = 0; i < rows; i++) {
        double* v = value + i * columns;
        const double* d = dot + i * columns;
        const int64_t own = row[i] - 1023 * kOne;
        for (int64_t j = 0; j < columns; j++) {
            const double old = v[j], added = d[j];
            const int64_t weight = own + column[j];
            const int64_t magnitude = bits_of(added > 0 ? added : added * below_one);
            const int64_t spare = (weight + largest - (magnitude & -kOne)) & mask;
            const int64_t lift = spare < most_lift ? spare : most_lift;
            const int64_t block = ((weight - guard) & mask) - lift;
            const int64_t room = bits_of((old > 0 ? old : old * below_one) * to_room) & mask;
            const int64_t unit = room > block ? room : block;
            const double inverse = double_of(2046 * kOne - unit);
            const double kept = std::floor((old + 0.5 * double_of(block)) * inverse);
            const double moved = std::floor(added * inverse + 0.5);
            v[j] = added == 0 ? old : (kept + moved) * double_of(unit);
        }
    }
}
}
