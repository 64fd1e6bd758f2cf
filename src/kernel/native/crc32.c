// Sixty-four or 128 bytes at a time.
#include "crc32.h"
#if defined(__x86_64__) || defined(_M_X64)
#include "fold.h"
#ifdef _MSC_VER
#define FOR_VCLMUL
#else
#define FOR_VCLMUL __attribute__((target("vpclmulqdq,avx2,pclmul,sse4.1")))
#endif

FOR_CLMUL static uint32_t crc32_clmul(uint32_t before, const uint8_t *data, size_t length) {
	uint32_t crc = ~before;
	if (length >= 64) {
		const __m128i by64 = BY_64;
		__m128i sum[4];
		for (int i = 0; i < 4; i++) sum[i] = _mm_loadu_si128((const __m128i *)data + i);
		sum[0] = _mm_xor_si128(sum[0], _mm_cvtsi32_si128((int)crc));
		for (data += 64, length -= 64; length >= 64; data += 64, length -= 64)
			for (int i = 0; i < 4; i++) sum[i] = move(sum[i], by64, _mm_loadu_si128((const __m128i *)data + i));
		crc = finish(sum);
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
static bool saves_vectors(void) {
	return has_leaf(1, 2, 27) && (_xgetbv(0) & 6) == 6;
}
#define HAS_VCLMUL (has_leaf(7, 2, 10) && saves_vectors())
#else
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
