// CRC-32 by carry-less multiplication: what is summed up so far is a polynomial that is congruent to all bytes
// before; multiplied by x^n mod P it is moved n bits ahead, onto the bytes that follow. The method is that of
// Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", 2009.
#ifndef MERGE_DELTA_FOLD_H
#define MERGE_DELTA_FOLD_H
#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef _MSC_VER
#include <intrin.h>
#define FOR_CLMUL
#else
#define FOR_CLMUL __attribute__((target("pclmul,sse4.1")))
#endif

#define POLYNOMIAL 0xedb88320u // with the bit of x^0 on the left

// Few bytes: the ends.
static uint32_t bitwise(uint32_t crc, const uint8_t *data, size_t length) {
	for (size_t i = 0; i < length; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
	}
	return crc;
}

// Factors that move the two halves of 128 bits ahead by n bytes: x^(8n - 32) and x^(8n + 32) mod P, with the bit of
// x^0 on the left of 33, because the product of two reflected numbers is a bit too far right.
#define BY_16 _mm_set_epi64x(0xccaa009e, 0x1751997d0)
#define BY_64 _mm_set_epi64x(0x1c6e41596, 0x154442bd4)
#define BY_128 _mm_set_epi64x(0x14a7fe880, 0x1e88ef372)
#define BY_256 _mm_set_epi64x(0x1322d1430, 0x11542778a)

FOR_CLMUL static inline __m128i move(__m128i sum, __m128i by, __m128i next) {
	return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(sum, by, 0x00), _mm_clmulepi64_si128(sum, by, 0x11)), next);
}

// The CRC-32, not inverted, of all bytes of some sums that lie 16 bytes apart.
FOR_CLMUL static inline uint32_t finish(const __m128i *sum, int count) {
	__m128i all = sum[0];
	for (int i = 1; i < count; i++) all = move(all, BY_16, sum[i]);
	uint8_t left[16];
	_mm_storeu_si128((__m128i *)left, all);
	return bitwise(0, left, 16);
}

#ifdef _MSC_VER
static bool has_leaf(int leaf, int index, int bit) {
	int registers[4];
	__cpuidex(registers, leaf, 0);
	return (registers[index] >> bit) & 1;
}
#define HAS_CLMUL (has_leaf(1, 2, 1) && has_leaf(1, 2, 19))
#else
#define HAS_CLMUL (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))
#endif

#endif
