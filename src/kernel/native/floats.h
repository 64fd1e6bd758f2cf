// Half floats and sums, one element at a time: what is right on every machine, and what the vector code
// falls back to. Rounding is to nearest, ties to even; NaNs are written as one pattern per type.
#ifndef MERGE_DELTA_FLOATS_H
#define MERGE_DELTA_FLOATS_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { F16 = 0, BF16 = 1, F32 = 2, DTYPE_COUNT = 3, NO_CAST = -1 };

static inline float float_of(uint32_t bits) {
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

static inline uint32_t bits_of(float value) {
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	return bits;
}

static inline float decode_f16(uint16_t half) {
	uint32_t sign = (uint32_t)(half & 0x8000) << 16;
	uint32_t shifted = (uint32_t)(half & 0x7fff) << 13;
	uint32_t normal = shifted + 0x38000000 + (shifted >= 0x0f800000 ? 0x38000000 : 0); // infinity and NaN
	// Subnormal: the fraction behind 2^-14, which is then taken away; never slow subnormals of binary32.
	uint32_t subnormal = bits_of(float_of(shifted + 0x38800000) - 0x1p-14f);
	return float_of(sign | (shifted >= 0x00800000 ? normal : subnormal));
}

static inline float decode_bf16(uint16_t half) { return float_of((uint32_t)half << 16); }

static inline uint16_t encode_f16(float value) {
	uint32_t bits = bits_of(value);
	uint16_t sign = (uint16_t)((bits >> 16) & 0x8000);
	uint32_t magnitude = bits & 0x7fffffff;
	if (magnitude > 0x7f800000) return 0x7e00;
	if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and more
	if (magnitude < 0x38800000) // below 2^-14: beside one half, binary32 keeps just the places there are
		return sign | (uint16_t)(bits_of(float_of(magnitude) + 0.5f) - 0x3f000000);
	return sign | (uint16_t)((magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13);
}

static inline uint16_t encode_bf16(float value) {
	uint32_t bits = bits_of(value);
	if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
	return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline float canonical_f32(float value) { return value != value ? float_of(0x7fc00000) : value; }

// The sum rounded to odd: not to nearest, but so that rounding it once more to a narrower type gives what
// one rounding of the exact sum would (Boldo and Melquiond 2008).
static inline float add_to_odd(float a, float b) {
	float sum = a + b;
	uint32_t bits = bits_of(sum);
	if ((bits & 0x7f800000) == 0x7f800000 || (bits & 1)) return sum;
	float b_part = sum - a;
	float error = (a - (sum - b_part)) + (b - b_part); // Knuth's TwoSum: exact
	if (error == 0) return sum;
	// An even pattern has odd neighbours: the one on the side of the exact sum.
	bool outward = (error > 0) == (sum > 0);
	return float_of(outward ? bits + 1 : bits - 1);
}

static inline bool is_finite(float value) { return (bits_of(value) & 0x7f800000) != 0x7f800000; }

#endif
