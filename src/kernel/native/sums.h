// Sums of arrays. `count` elements at any address; results that are NaN or infinite are counted, and of
// those the ones whose operands were both finite.
#ifndef MERGE_DELTA_SUMS_H
#define MERGE_DELTA_SUMS_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
	double non_finite;
	double overflowed;
} counts;

typedef struct {
	int base, delta, cast, out;
} spec;

// The signs of two half floats; the upper one is that of a binary32.
#define SIGNS 0x80008000u

// Adds `count` elements of one type, as fast as the machine can, those of the base with the bits of `sign`
// turned over: for binary32 the upper half of it is meant.
// Returns nonzero where a result may not be finite, so that the caller counts.
typedef int (*adder)(const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count, uint32_t sign);

// Widens `count` elements to binary32, exactly.
typedef void (*decoder)(const uint8_t *from, float *to, size_t count);

// Rounds `count` elements. Returns nonzero where a result may not be finite.
typedef int (*encoder)(const float *from, uint8_t *to, size_t count);

typedef struct {
	const char *name;
	// by dtype
	adder add[3];
	decoder decode[3];
	encoder encode[3];
} level;

extern const level scalar_level;

// What is right on every machine, for levels that have nothing faster.
void decode_f16s(const uint8_t *from, float *to, size_t count);
void decode_bf16s(const uint8_t *from, float *to, size_t count);
void decode_f32s(const uint8_t *from, float *to, size_t count);
int encode_f16s(const float *from, uint8_t *to, size_t count);
int encode_bf16s(const float *from, uint8_t *to, size_t count);
int encode_f32s(const float *from, uint8_t *to, size_t count);
#define SCALAR_CONVERSIONS {decode_f16s, decode_bf16s, decode_f32s}, {encode_f16s, encode_bf16s, encode_f32s}

// The levels this processor has, the fastest first; ends with the one that every processor has.
const level *const *levels(void);

size_t width_of(int dtype);

// Adds and counts, with the means of a level. `sign`: 0, or SIGNS to take the base from the delta.
counts add_arrays(
	const level *fast, spec what, uint32_t sign, const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count);

#endif
