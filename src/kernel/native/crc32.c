// Sixty-four or 128 bytes at a time: what is summed up so far is a polynomial that is congruent to all bytes
// before; multiplied by x^n mod P it is moved n bits ahead, onto the bytes that follow. The method is that of
// Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", 2009.
#include "crc32.h"
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#include <stdbool.h>
#ifdef _MSC_VER
#include <intrin.h>
#define FOR_CLMUL
#define FOR_VCLMUL
#else
#define FOR_CLMUL __attribute__((target("pclmul,sse4.1")))
#define FOR_VCLMUL __attribute__((target("vpclmulqdq,avx2,pclmul,sse4.1")))
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

FOR_CLMUL static inline __m128i move(__m128i sum, __m128i by, __m128i next) {
	return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(sum, by, 0x00), _mm_clmulepi64_si128(sum, by, 0x11)), next);
}

FOR_CLMUL static uint32_t crc32_clmul(uint32_t before, const uint8_t *data, size_t length) {
	uint32_t crc = ~before;
	if (length >= 64) {
		const __m128i by64 = BY_64, by16 = BY_16;
		__m128i sum[4];
		for (int i = 0; i < 4; i++) sum[i] = _mm_loadu_si128((const __m128i *)data + i);
		sum[0] = _mm_xor_si128(sum[0], _mm_cvtsi32_si128((int)crc));
		for (data += 64, length -= 64; length >= 64; data += 64, length -= 64)
			for (int i = 0; i < 4; i++) sum[i] = move(sum[i], by64, _mm_loadu_si128((const __m128i *)data + i));
		for (int i = 1; i < 4; i++) sum[0] = move(sum[0], by16, sum[i]);
		uint8_t left[16];
		_mm_storeu_si128((__m128i *)left, sum[0]);
		crc = bitwise(0, left, 16);
	}
	return ~bitwise(crc, data, length);
}

FOR_VCLMUL static inline __m256i move_two(__m256i sum, __m256i by, __m256i next) {
	__m256i low = _mm256_clmulepi64_epi128(sum, by, 0x00), high = _mm256_clmulepi64_epi128(sum, by, 0x11);
	return _mm256_xor_si256(_mm256_xor_si256(low, high), next);
}

FOR_VCLMUL static uint32_t crc32_vclmul(uint32_t before, const uint8_t *data, size_t length) {
	if (length < 256) return crc32_clmul(before, data, length);
	const __m256i by128 = _mm256_broadcastsi128_si256(BY_128);
	const __m128i by16 = BY_16;
	__m256i sum[4];
	for (int i = 0; i < 4; i++) sum[i] = _mm256_loadu_si256((const __m256i *)data + i);
	sum[0] = _mm256_xor_si256(sum[0], _mm256_set_epi32(0, 0, 0, 0, 0, 0, 0, (int)~before));
	for (data += 128, length -= 128; length >= 128; data += 128, length -= 128)
		for (int i = 0; i < 4; i++) sum[i] = move_two(sum[i], by128, _mm256_loadu_si256((const __m256i *)data + i));
	__m128i all = _mm256_castsi256_si128(sum[0]);
	all = move(all, by16, _mm256_extracti128_si256(sum[0], 1));
	for (int i = 1; i < 4; i++) {
		all = move(all, by16, _mm256_castsi256_si128(sum[i]));
		all = move(all, by16, _mm256_extracti128_si256(sum[i], 1));
	}
	uint8_t left[16];
	_mm_storeu_si128((__m128i *)left, all);
	return ~bitwise(bitwise(0, left, 16), data, length);
}

#ifdef _MSC_VER
static bool has(int leaf, int ecx_bit) {
	int registers[4];
	__cpuidex(registers, leaf, 0);
	return (registers[2] >> ecx_bit) & 1;
}
static bool saves_vectors(void) {
	int registers[4];
	__cpuid(registers, 1);
	return ((registers[2] >> 27) & 1) && (_xgetbv(0) & 6) == 6;
}
#define HAS_CLMUL (has(1, 1) && has(1, 19))
#define HAS_VCLMUL (has(7, 10) && saves_vectors())
#else
#define HAS_CLMUL (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))
#define HAS_VCLMUL (__builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("avx2"))
#endif

const crc32_way *const *crc32_ways(void) {
	static const crc32_way clmul = {"clmul", crc32_clmul}, vclmul = {"vclmul", crc32_vclmul};
	static const crc32_way *const all[] = {&vclmul, &clmul, 0};
	return !HAS_CLMUL ? all + 2 : HAS_VCLMUL ? all : all + 1;
}
#else
const crc32_way *const *crc32_ways(void) {
	static const crc32_way *const none[] = {0};
	return none;
}
#endif
