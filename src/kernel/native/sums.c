#include "sums.h"
#include "floats.h"

// So many elements stay in the first cache while they are looked at again.
#define RUN 2048

size_t width_of(int dtype) { return dtype == F32 ? 4 : 2; }

static float read_as_f32(int dtype, const uint8_t *at) {
	uint16_t half;
	uint32_t word;
	if (dtype == F32) {
		memcpy(&word, at, 4);
		return float_of(word);
	}
	memcpy(&half, at, 2);
	return dtype == F16 ? decode_f16(half) : decode_bf16(half);
}

void decode_f16s(const uint8_t *from, float *to, size_t count) {
	for (size_t i = 0; i < count; i++) to[i] = read_as_f32(F16, from + 2 * i);
}
void decode_bf16s(const uint8_t *from, float *to, size_t count) {
	for (size_t i = 0; i < count; i++) to[i] = read_as_f32(BF16, from + 2 * i);
}
void decode_f32s(const uint8_t *from, float *to, size_t count) { memcpy(to, from, 4 * count); }

int encode_f16s(const float *from, uint8_t *to, size_t count) {
	for (size_t i = 0; i < count; i++) {
		uint16_t half = encode_f16(from[i]);
		memcpy(to + 2 * i, &half, 2);
	}
	return 1;
}
int encode_bf16s(const float *from, uint8_t *to, size_t count) {
	for (size_t i = 0; i < count; i++) {
		uint16_t half = encode_bf16(from[i]);
		memcpy(to + 2 * i, &half, 2);
	}
	return 1;
}
int encode_f32s(const float *from, uint8_t *to, size_t count) {
	for (size_t i = 0; i < count; i++) {
		float value = canonical_f32(from[i]);
		memcpy(to + 4 * i, &value, 4);
	}
	return 1;
}

// Decodes, and rounds to the type that the convention casts to.
static void read_operand(const level *fast, int dtype, int cast, const uint8_t *from, float *to, size_t count) {
	fast->decode[dtype](from, to, count);
	if (cast == NO_CAST || cast == dtype || cast == F32) return;
	uint8_t rounded[2 * RUN];
	fast->encode[cast](to, rounded, count);
	fast->decode[cast](rounded, to, count);
}

static inline float flip(float value, uint32_t sign) { return float_of(bits_of(value) ^ (sign & 0x80000000)); }

static int add_mixed(
	const level *fast, spec what, uint32_t sign, const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count) {
	float a[RUN], b[RUN];
	read_operand(fast, what.base, what.cast, base, a, count);
	read_operand(fast, what.delta, what.cast, delta, b, count);
	int base_type = what.cast == NO_CAST ? what.base : what.cast;
	int delta_type = what.cast == NO_CAST ? what.delta : what.cast;
	// Binary32 has twice the places of a half float and two more, so that rounding the sum of two of one
	// type twice is rounding it once (Figueroa 1995); other sums must not be rounded to nearest twice.
	bool exact_enough = what.out == F32 || (base_type == what.out && delta_type == what.out);
	if (exact_enough)
		for (size_t i = 0; i < count; i++) a[i] = flip(a[i], sign) + b[i];
	else
		for (size_t i = 0; i < count; i++) a[i] = add_to_odd(flip(a[i], sign), b[i]);
	return fast->encode[what.out](a, out, count);
}

static void count_run(spec what, const uint8_t *base, const uint8_t *delta, const uint8_t *out, size_t count, counts *total) {
	for (size_t i = 0; i < count; i++) {
		if (is_finite(read_as_f32(what.out, out + i * width_of(what.out)))) continue;
		total->non_finite++;
		if (is_finite(read_as_f32(what.base, base + i * width_of(what.base))) &&
			is_finite(read_as_f32(what.delta, delta + i * width_of(what.delta))))
			total->overflowed++;
	}
}

counts add_arrays(
	const level *fast, spec what, uint32_t sign, const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count) {
	counts total = {0, 0};
	bool same = what.base == what.out && what.delta == what.out && (what.cast == NO_CAST || what.cast == what.out);
	for (size_t first = 0; first < count; first += RUN) {
		size_t length = count - first < RUN ? count - first : RUN;
		const uint8_t *a = base + first * width_of(what.base), *b = delta + first * width_of(what.delta);
		uint8_t *c = out + first * width_of(what.out);
		int suspicious = same ? fast->add[what.out](a, b, c, length, sign) : add_mixed(fast, what, sign, a, b, c, length);
		if (suspicious) count_run(what, a, b, c, length, &total);
	}
	return total;
}

static int add_f16(const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count, uint32_t sign) {
	return add_mixed(&scalar_level, (spec){F16, F16, NO_CAST, F16}, sign, base, delta, out, count);
}
static int add_bf16(const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count, uint32_t sign) {
	return add_mixed(&scalar_level, (spec){BF16, BF16, NO_CAST, BF16}, sign, base, delta, out, count);
}
static int add_f32(const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count, uint32_t sign) {
	return add_mixed(&scalar_level, (spec){F32, F32, NO_CAST, F32}, sign, base, delta, out, count);
}

const level scalar_level = {"scalar", {add_f16, add_bf16, add_f32}, SCALAR_CONVERSIONS};
